#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

namespace prometheus {
class Registry;
}

namespace sharder::shard {

// The counters and histograms of one controller, under the names of controller-runtime and client-go, so that their
// dashboards work. Safe from any thread. Several controllers share a registry.
class ControllerMetrics {
 public:
  // `registry` outlives it. `controller`: the value of the labels `controller` and `name`.
  ControllerMetrics(prometheus::Registry& registry, const std::string& controller);
  ~ControllerMetrics();

  // workqueue_adds_total, workqueue_retries_total
  void added();
  void retried();
  // workqueue_queue_duration_seconds: an object waited so long.
  void taken(std::chrono::nanoseconds waited);
  // controller_runtime_reconcile_total{result}, ..._errors_total, ..._time_seconds, workqueue_work_duration_seconds.
  // `result`: "success", "error", "requeue_after".
  void reconciled(std::string_view result, std::chrono::nanoseconds took);
  // controller_runtime_reconcile_panics_total: the function threw.
  void threw();
  // controller_sharding_shard_acknowledged_drains_total: an object left this shard in order.
  void acknowledged();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sharder::shard
