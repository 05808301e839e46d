#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "kube/client/lasting_failure.h"
#include "kube/client/resource.h"
#include "rebalancer/drain_census.h"
#include "rebalancer/metrics.h"
#include "rebalancer/object_watch.h"
#include "rebalancer/tools.h"

namespace sharder::rebalancer {

// Keeps the metrics of what drains of one main resource: counts it by a list now and then, as long as something drains
// or may do. A watch that stays would bring two events for each object that is drained. Where lists of this kind
// fail and fail, the passes count.
//
// Owned by the ring's worker, on the control loop.
class DrainCounter {
 public:
  // Between two looks.
  static constexpr std::chrono::seconds kPeriod{5};
  // So many times as long as a count took is the pause after it; one that takes too long is given up.
  static constexpr int kPause = 50;
  static constexpr std::chrono::minutes kLongestPause{5};
  static constexpr std::chrono::minutes kTimeout{1};

  DrainCounter(std::shared_ptr<Tools> tools, std::string drain_label, std::shared_ptr<ResourceMetrics> metrics);

  // The resource is known, or is another one: counts at once.
  void begin(const kube::Resource& resource);
  // Every kPeriod, with how many moves of the resource were carried out so far. What drained at the last count grows
  // older.
  void look(std::uint64_t carried_out);
  // Everything is looked at anew: counts at once, refused or not.
  void sync();

  // A pass over all objects of the resource begins, shows one that has the drain label, and has ended.
  void pass_begins() { seen_in_pass_ = 0; }
  void seen_in_pass() { ++seen_in_pass_; }
  void pass_ended();

 private:
  void count();
  void came(const std::vector<ObjectEvent>& objects);
  void counted();
  void failed(const Error& error);

  const std::shared_ptr<Tools> tools_;
  const std::string drain_label_;
  const std::shared_ptr<ResourceMetrics> metrics_;
  std::optional<kube::Resource> resource_;
  DrainCensus census_;
  std::size_t counted_ = 0;            // by the last list that came whole: so many drain,
  std::optional<SteadyTime> oldest_;   // and since when
  std::unique_ptr<ObjectWatch> list_;  // while it counts
  SteadyTime asked_ = {};
  SteadyTime answer_began_ = {};
  SteadyTime next_ = SteadyTime::min();  // no earlier
  bool wanted_ = false;                  // something may drain that the last count did not show
  std::uint64_t carried_out_ = 0;        // when the last count began
  std::size_t seen_in_pass_ = 0;
  kube::LastingFailure failure_;
  bool refused_ = false;  // it lasts: not tried before the sync
};

}  // namespace sharder::rebalancer
