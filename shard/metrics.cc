#include "shard/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

namespace sharder::shard {

namespace {

using prometheus::Counter;
using prometheus::Family;
using prometheus::Histogram;
using prometheus::Labels;
using prometheus::Registry;

// client-go: 10 ns to 1000 s.
Histogram::BucketBoundaries queue_buckets() {
  Histogram::BucketBoundaries buckets;
  for (double bound = 1e-8; bound < 2e3; bound *= 10) {
    buckets.push_back(bound);
  }
  return buckets;
}

// controller-runtime's.
Histogram::BucketBoundaries reconcile_buckets() {
  return {0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.25, 1.5,
          1.75,  2.0,  2.5,   3.0,  3.5, 4.0,  4.5, 5,    6,   7,    8,   9,    10,  15,  20,  25,  30,  40,  50,   60};
}

double seconds(std::chrono::nanoseconds duration) {
  return std::chrono::duration<double>(duration).count();
}

Family<Counter>& counters(Registry& registry, const char* name, const char* help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
}

Family<Histogram>& histograms(Registry& registry, const char* name, const char* help) {
  return prometheus::BuildHistogram().Name(name).Help(help).Register(registry);
}

}  // namespace

struct ControllerMetrics::Impl {
  Impl(Registry& registry, const std::string& controller)
      : labels{{"controller", controller}},
        queue_labels{{"controller", controller}, {"name", controller}},
        results(counters(registry, "controller_runtime_reconcile_total", "Reconciliations, by their result.")),
        adds(counters(registry, "workqueue_adds_total", "Objects that were added to the queue.").Add(queue_labels)),
        retries(counters(registry, "workqueue_retries_total", "Objects that were added again after a failure.")
                    .Add(queue_labels)),
        acknowledgements(counters(registry, "controller_sharding_shard_acknowledged_drains_total",
                                  "Drains that this shard acknowledged.")
                             .Add(labels)),
        errors(counters(registry, "controller_runtime_reconcile_errors_total", "Reconciliations that failed.")
                   .Add(labels)),
        panics(counters(registry, "controller_runtime_reconcile_panics_total",
                        "Reconciliations that ended with an exception.")
                   .Add(labels)),
        waits(histograms(registry, "workqueue_queue_duration_seconds",
                         "How long objects waited in the queue before they were taken.")
                  .Add(queue_labels, queue_buckets())),
        work(histograms(registry, "workqueue_work_duration_seconds", "How long objects were worked on.")
                 .Add(queue_labels, queue_buckets())),
        times(histograms(registry, "controller_runtime_reconcile_time_seconds", "How long reconciliations took.")
                  .Add(labels, reconcile_buckets())) {
    for (const char* result : {"success", "error", "requeue_after"}) {
      results.Add({{"controller", controller}, {"result", result}});
    }
  }

  const Labels labels;
  const Labels queue_labels;
  Family<Counter>& results;
  Counter& adds;
  Counter& retries;
  Counter& acknowledgements;
  Counter& errors;
  Counter& panics;
  Histogram& waits;
  Histogram& work;
  Histogram& times;
};

ControllerMetrics::ControllerMetrics(Registry& registry, const std::string& controller)
    : impl_(std::make_unique<Impl>(registry, controller)) {}
ControllerMetrics::~ControllerMetrics() = default;

void ControllerMetrics::added() {
  impl_->adds.Increment();
}

void ControllerMetrics::retried() {
  impl_->retries.Increment();
}

void ControllerMetrics::taken(std::chrono::nanoseconds waited) {
  impl_->waits.Observe(seconds(waited));
}

void ControllerMetrics::reconciled(std::string_view result, std::chrono::nanoseconds took) {
  Labels labels = impl_->labels;
  labels.emplace("result", result);
  impl_->results.Add(labels).Increment();
  if (result == "error") {
    impl_->errors.Increment();
  }
  impl_->times.Observe(seconds(took));
  impl_->work.Observe(seconds(took));
}

void ControllerMetrics::threw() {
  impl_->panics.Increment();
}

void ControllerMetrics::acknowledged() {
  impl_->acknowledgements.Increment();
}

}  // namespace sharder::shard
