#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "kube/client/resource.h"
#include "kube/codec/object_meta.h"
#include "rebalancer/census.h"
#include "rebalancer/counting_list.h"
#include "rebalancer/metrics.h"
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
  // The pause after a count is so many times as long as the count took.
  static constexpr int kPause = 50;
  // Pairs of shards whose drains are told apart; those of all others are counted together.
  static constexpr std::size_t kMaxFlows = 1000;

  struct Callbacks {
    // Whether the target of an object's drain is not where the object belongs any more.
    std::function<bool(const kube::ObjectMeta&)> is_outdated;
    // There are fewer such drains than at the last count: they were acknowledged, and their objects are misplaced.
    std::function<void()> on_misled;
  };

  DrainCounter(std::shared_ptr<Tools> tools, std::string drain_label, std::string shard_label,
               std::shared_ptr<ResourceMetrics> metrics, Callbacks callbacks);

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
  void list_began();
  void shown(const kube::ObjectMeta& object);
  void counted();
  void lists_given_up();

  const std::shared_ptr<Tools> tools_;
  const std::string drain_label_;
  const std::string shard_label_;
  const std::shared_ptr<ResourceMetrics> metrics_;
  const Callbacks callbacks_;
  std::optional<kube::Resource> resource_;
  Census census_;                     // by the last complete list,
  Flows flows_;                       // from where to where,
  std::size_t counted_ = 0;           // so many drain, or as many as the last pass has seen,
  std::optional<SteadyTime> oldest_;  // and since when.
  std::size_t outdated_ = 0;          // So many have an outdated target.
  Census listed_;                     // by the list that is under way
  Flows listed_flows_;
  std::size_t listed_outdated_ = 0;
  bool wanted_ = false;            // something may drain that the last count did not show
  std::uint64_t carried_out_ = 0;  // when the last count began
  std::size_t seen_in_pass_ = 0;
  CountingList list_;
};

}  // namespace sharder::rebalancer
