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
#include "rebalancer/report.h"
#include "rebalancer/tools.h"

namespace sharder::rebalancer {

// Keeps the drain metrics of one main resource. It counts the draining objects by a list now and then, as long as
// something drains or may drain. A permanent watch would bring two events for each object that is drained. After a
// lasting failure of these lists, the passes count.
//
// Owned by the ring's worker, on the control loop.
class DrainCounter {
 public:
  // Between two looks.
  static constexpr std::chrono::seconds kPeriod{5};
  // The pause after a count is so many times as long as the count took. A count that exceeds kTimeout is given up.
  static constexpr int kPause = 50;
  static constexpr std::chrono::minutes kLongestPause{5};
  static constexpr std::chrono::minutes kTimeout{1};
  // Pairs of shards whose drains are told apart; those of all others are counted together.
  static constexpr std::size_t kMaxFlows = 1000;

  DrainCounter(std::shared_ptr<Tools> tools, std::string drain_label, std::string shard_label,
               std::shared_ptr<ResourceMetrics> metrics);

  // The resource is known, or has changed: counts at once.
  void begin(const kube::Resource& resource);
  // Call it every kPeriod: counts if that is due, and updates the age of the oldest drain. `carried_out`: moves of the
  // resource so far.
  void look(std::uint64_t carried_out);
  // Everything is looked at anew: counts at once, even if lists were given up.
  void sync();

  // A pass over all objects of the resource begins, shows one that has the drain label, and has ended.
  void pass_begins() { seen_in_pass_ = 0; }
  void seen_in_pass() { ++seen_in_pass_; }
  void pass_ended();

  // By the last count.
  std::size_t draining() const { return counted_; }
  std::optional<SteadyTime> oldest() const { return oldest_; }
  void add_to(Flows& flows) const;

 private:
  void count();
  void came(const std::vector<ObjectEvent>& objects);
  void add_flow(const kube::ObjectMeta& object);
  void counted();
  void failed(const Error& error);

  const std::shared_ptr<Tools> tools_;
  const std::string drain_label_;
  const std::string shard_label_;
  const std::shared_ptr<ResourceMetrics> metrics_;
  std::optional<kube::Resource> resource_;
  DrainCensus census_;
  std::size_t counted_ = 0;            // by the last complete list: so many drain,
  std::optional<SteadyTime> oldest_;   // and since when
  Flows flows_;                        // likewise: from where to where
  std::unique_ptr<ObjectWatch> list_;  // while it counts
  Flows listed_flows_;                 // by that list
  SteadyTime asked_ = {};
  SteadyTime answer_began_ = {};
  SteadyTime next_ = SteadyTime::min();  // no count before
  bool wanted_ = false;                  // something may drain that the last count did not show
  std::uint64_t carried_out_ = 0;        // when the last count began
  std::size_t seen_in_pass_ = 0;
  kube::LastingFailure failure_;
  bool given_up_ = false;  // lists have a lasting failure: none before the sync
};

}  // namespace sharder::rebalancer
