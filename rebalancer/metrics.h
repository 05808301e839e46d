#pragma once

#include <chrono>
#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "rebalancer/report.h"
#include "ring/controller_ring.h"

namespace prometheus {
class Registry;
}

namespace sharder::rebalancer {

// The metrics of one resource of a ring. Counters stay for the life of the process; gauges until they are removed.
// Counting is safe from any thread, the gauges are the control loop's.
class ResourceMetrics {
 public:
  virtual ~ResourceMetrics() = default;
  // A move was carried out, `duration` after it was found: a shard was assigned, or a drain asked for.
  virtual void moved(std::chrono::nanoseconds duration) = 0;
  virtual void drained(std::chrono::nanoseconds duration) = 0;
  // A try of a move failed, and not because of a conflict. `reason`: to_string() of its ErrorCode (base/error.h).
  virtual void failed(std::string_view reason) = 0;
  virtual void set_pending(std::size_t moves) = 0;
  virtual void set_draining(std::size_t objects, std::chrono::nanoseconds oldest) = 0;
  // These are there when they were set once: before that, nobody knows.
  virtual void set_objects(const std::map<std::string, std::size_t>& by_shard) = 0;
  virtual void set_unassigned(const Strays& unassigned) = 0;
  virtual void set_misplaced(const Strays& misplaced) = 0;
  virtual void set_last_pass(WallTime ended) = 0;
  // The resource left the ring, or the leadership ended: the gauges are not set any more.
  virtual void remove_gauges() = 0;
};

struct MetricFamilies;

// The metrics of moves and of the audit (protocol, 8 and 10), labels controllerring, group, resource:
//   controller_sharding_movements_total, controller_sharding_drains_total,
//   controller_sharding_move_failures_total{reason}, controller_sharding_move_duration_seconds,
//   controller_sharding_pending_moves, controller_sharding_draining_objects, controller_sharding_oldest_drain_seconds,
//   controller_sharding_objects{shard}, controller_sharding_unassigned_objects,
//   controller_sharding_oldest_unassigned_seconds, controller_sharding_misplaced_objects,
//   controller_sharding_oldest_misplaced_seconds, controller_sharding_last_pass_timestamp_seconds.
class Metrics {
 public:
  // `registry` may be null, else it outlives all that of() returned.
  explicit Metrics(prometheus::Registry* registry);

  std::shared_ptr<ResourceMetrics> of(std::string_view ring, const ring::GroupResource& resource);

 private:
  std::shared_ptr<MetricFamilies> families_;
};

}  // namespace sharder::rebalancer
