#include "kube/client/reconcile_metrics.h"

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

namespace sharder::kube {

namespace {

// controller-runtime's.
prometheus::Histogram::BucketBoundaries buckets() {
  return {0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.25, 1.5,
          1.75,  2.0,  2.5,   3.0,  3.5, 4.0,  4.5, 5,    6,   7,    8,   9,    10,  15,  20,  25,  30,  40,  50,   60};
}

}  // namespace

struct ReconcileMetrics::Impl {
  Impl(prometheus::Registry& registry, const std::string& controller)
      : labels{{"controller", controller}},
        results(prometheus::BuildCounter()
                    .Name("controller_runtime_reconcile_total")
                    .Help("Reconciliations, by their result.")
                    .Register(registry)),
        errors(prometheus::BuildCounter()
                   .Name("controller_runtime_reconcile_errors_total")
                   .Help("Reconciliations that failed.")
                   .Register(registry)
                   .Add(labels)),
        times(prometheus::BuildHistogram()
                  .Name("controller_runtime_reconcile_time_seconds")
                  .Help("How long reconciliations took.")
                  .Register(registry)
                  .Add(labels, buckets())) {
    // As there, where "requeue" is one that ours never have.
    for (const std::string_view result : {kSuccess, std::string_view("requeue"), kRequeueAfter, kError}) {
      of(result);
    }
  }
  prometheus::Counter& of(std::string_view result) {
    prometheus::Labels with_result = labels;
    with_result.emplace("result", result);
    return results.Add(with_result);
  }

  const prometheus::Labels labels;
  prometheus::Family<prometheus::Counter>& results;
  prometheus::Counter& errors;
  prometheus::Histogram& times;
};

ReconcileMetrics::ReconcileMetrics(prometheus::Registry* registry, const std::string& controller)
    : impl_(registry == nullptr ? nullptr : std::make_unique<Impl>(*registry, controller)) {}
ReconcileMetrics::~ReconcileMetrics() = default;

void ReconcileMetrics::ended(std::string_view result, std::chrono::nanoseconds took) {
  if (impl_ == nullptr) {
    return;
  }
  impl_->of(result).Increment();
  if (result == kError) {
    impl_->errors.Increment();
  }
  impl_->times.Observe(std::chrono::duration<double>(took).count());
}

}  // namespace sharder::kube
