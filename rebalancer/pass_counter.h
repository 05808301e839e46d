#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "rebalancer/census.h"
#include "rebalancer/metrics.h"
#include "rebalancer/report.h"
#include "rebalancer/ring_view.h"
#include "rebalancer/tools.h"

namespace sharder::rebalancer {

// Counts what the passes over one resource see: the objects of each shard, and those that are misplaced. Only passes
// can see the latter. What is moved meanwhile is misplaced no longer; a move that failed, or was dropped, leaves its
// object misplaced. While a pass runs, there are at least as many misplaced objects as it has seen so far.
//
// Owned by the resource's worker, on the control loop.
class PassCounter {
 public:
  PassCounter(std::shared_ptr<Tools> tools, const RingView& view, std::shared_ptr<ResourceMetrics> metrics);

  // A pass over all objects of the resource begins, and has ended.
  void begins();
  void ended();
  // Such a pass, or one over a namespace, shows an object; `is_past`: as it was before it was moved.
  void shown(const Sighting& seen, bool is_past);
  // The object with this object_hash() needs no move any more.
  void settled(std::uint64_t object);
  // Updates the metrics.
  void look();

  // By the last pass that has ended; nullopt: none has.
  std::optional<ObjectCount> objects() const;
  Strays misplaced() const;

 private:
  using ByShard = std::map<std::string, std::size_t>;

  const std::shared_ptr<Tools> tools_;
  const RingView& view_;
  const std::shared_ptr<ResourceMetrics> metrics_;
  std::optional<SteadyTime> ended_;  // the last pass; by that:
  ByShard by_shard_;                 // "": the label names no available shard
  Census misplaced_;
  // By the pass that runs, or that gave way to others:
  ByShard seen_by_shard_;
  std::optional<Census> seen_misplaced_;
};

}  // namespace sharder::rebalancer
