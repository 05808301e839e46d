#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

namespace prometheus {
class Registry;
}

namespace sharder::kube {

// The reconciliations of one controller, under the names of controller-runtime, so that its dashboards work:
// controller_runtime_reconcile_total{controller,result}, controller_runtime_reconcile_errors_total{controller},
// controller_runtime_reconcile_time_seconds{controller}. Safe from any thread. Several controllers share a registry.
class ReconcileMetrics {
 public:
  static constexpr std::string_view kSuccess = "success";
  static constexpr std::string_view kRequeueAfter = "requeue_after";  // a success, after which it is looked at again
  static constexpr std::string_view kError = "error";

  // `registry` may be null, else it outlives this.
  ReconcileMetrics(prometheus::Registry* registry, const std::string& controller);
  ~ReconcileMetrics();

  // `result`: one of the above.
  void ended(std::string_view result, std::chrono::nanoseconds took);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;  // null without a registry
};

}  // namespace sharder::kube
