#include "shard/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include "kube/client/reconcile_metrics.h"

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
        reconciliations(&registry, controller),
        adds(counters(registry, "workqueue_adds_total", "Objects that were added to the queue.").Add(queue_labels)),
        retries(counters(registry, "workqueue_retries_total", "Objects that were added again after a failure.")
                    .Add(queue_labels)),
        acknowledgements(counters(registry, "controller_sharding_shard_acknowledged_drains_total",
                                  "Drains that this shard acknowledged.")
                             .Add(labels)),
        panics(counters(registry, "controller_runtime_reconcile_panics_total",
                        "Reconciliations that ended with an exception.")
                   .Add(labels)),
        waits(histograms(registry, "workqueue_queue_duration_seconds",
                         "How long objects waited in the queue before they were taken.")
                  .Add(queue_labels, queue_buckets())),
        work(histograms(registry, "workqueue_work_duration_seconds", "How long objects were worked on.")
                 .Add(queue_labels, queue_buckets())) {}

  const Labels labels;
  const Labels queue_labels;
  kube::ReconcileMetrics reconciliations;
  Counter& adds;
  Counter& retries;
  Counter& acknowledgements;
  Counter& panics;
  Histogram& waits;
  Histogram& work;
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
  impl_->reconciliations.ended(result, took);
  impl_->work.Observe(seconds(took));
}

void ControllerMetrics::threw() {
  impl_->panics.Increment();
}

void ControllerMetrics::acknowledged() {
  impl_->acknowledgements.Increment();
}

}  // namespace sharder::shard
