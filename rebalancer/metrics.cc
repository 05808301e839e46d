#include "rebalancer/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <utility>

namespace sharder::rebalancer {

namespace {

double seconds(std::chrono::nanoseconds duration) {
  return std::chrono::duration<double>(duration).count();
}

prometheus::Histogram::BucketBoundaries duration_buckets() {
  return {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300};
}

}  // namespace

struct MetricFamilies {
  std::shared_ptr<prometheus::Registry> own;  // null when the caller has one
  prometheus::Registry& registry;
  prometheus::Family<prometheus::Counter>& movements =
      prometheus::BuildCounter()
          .Name("controller_sharding_movements_total")
          .Help("Objects that were assigned to another shard, or to their first one, by the rebalancer.")
          .Register(registry);
  prometheus::Family<prometheus::Counter>& drains = prometheus::BuildCounter()
                                                        .Name("controller_sharding_drains_total")
                                                        .Help("Objects whose shard was asked to let them go.")
                                                        .Register(registry);
  prometheus::Family<prometheus::Counter>& failures = prometheus::BuildCounter()
                                                          .Name("controller_sharding_move_failures_total")
                                                          .Help("Tries to move an object that failed, conflicts aside.")
                                                          .Register(registry);
  prometheus::Family<prometheus::Histogram>& durations =
      prometheus::BuildHistogram()
          .Name("controller_sharding_move_duration_seconds")
          .Help("From the moment that a move was found to be needed until it was carried out.")
          .Register(registry);
  prometheus::Family<prometheus::Gauge>& pending = prometheus::BuildGauge()
                                                       .Name("controller_sharding_pending_moves")
                                                       .Help("Moves that were found and are not carried out yet.")
                                                       .Register(registry);
  prometheus::Family<prometheus::Gauge>& draining =
      prometheus::BuildGauge()
          .Name("controller_sharding_draining_objects")
          .Help("Objects with a drain label, which their shard has not acknowledged yet.")
          .Register(registry);
  prometheus::Family<prometheus::Gauge>& oldest_drain =
      prometheus::BuildGauge()
          .Name("controller_sharding_oldest_drain_seconds")
          .Help("For how long the leader has seen the oldest draining object drain.")
          .Register(registry);
  prometheus::Family<prometheus::Gauge>& objects =
      prometheus::BuildGauge()
          .Name("controller_sharding_objects")
          .Help("Objects with the shard's label, as the last pass over all of them has seen them.")
          .Register(registry);
  prometheus::Family<prometheus::Gauge>& unassigned =
      prometheus::BuildGauge()
          .Name("controller_sharding_unassigned_objects")
          .Help("Objects that should have a shard, and whose label is missing, empty, or names no available shard.")
          .Register(registry);
  prometheus::Family<prometheus::Gauge>& oldest_unassigned =
      prometheus::BuildGauge()
          .Name("controller_sharding_oldest_unassigned_seconds")
          .Help("For how long the leader has seen the oldest unassigned object.")
          .Register(registry);
  prometheus::Family<prometheus::Gauge>& misplaced =
      prometheus::BuildGauge()
          .Name("controller_sharding_misplaced_objects")
          .Help("Objects on another shard than the one that the ring chooses, which was not asked to let them go.")
          .Register(registry);
  prometheus::Family<prometheus::Gauge>& oldest_misplaced =
      prometheus::BuildGauge()
          .Name("controller_sharding_oldest_misplaced_seconds")
          .Help("For how long the leader has seen the oldest misplaced object.")
          .Register(registry);
  prometheus::Family<prometheus::Gauge>& last_pass =
      prometheus::BuildGauge()
          .Name("controller_sharding_last_pass_timestamp_seconds")
          .Help("When the last pass over all objects ended, in seconds since the epoch.")
          .Register(registry);
};

namespace {

// A gauge that is there from the first value on, until it is removed.
class LateGauge {
 public:
  LateGauge(prometheus::Family<prometheus::Gauge>& family, const prometheus::Labels& labels)
      : family_(family), labels_(labels) {}
  void set(double value) {
    gauge_ = gauge_ == nullptr ? &family_.Add(labels_) : gauge_;
    gauge_->Set(value);
  }
  void remove() {
    if (auto* const gauge = std::exchange(gauge_, nullptr)) {
      family_.Remove(gauge);
    }
  }

 private:
  prometheus::Family<prometheus::Gauge>& family_;
  const prometheus::Labels labels_;
  prometheus::Gauge* gauge_ = nullptr;
};

class Series final : public ResourceMetrics {
 public:
  Series(const std::shared_ptr<MetricFamilies>& families, const prometheus::Labels& labels)
      : families_(families),
        labels_(labels),
        movements_(families->movements.Add(labels)),
        drains_(families->drains.Add(labels)),
        duration_(families->durations.Add(labels, duration_buckets())),
        pending_(&families->pending.Add(labels)),
        draining_(&families->draining.Add(labels)),
        oldest_drain_(&families->oldest_drain.Add(labels)),
        unassigned_(families->unassigned, labels),
        oldest_unassigned_(families->oldest_unassigned, labels),
        misplaced_(families->misplaced, labels),
        oldest_misplaced_(families->oldest_misplaced, labels),
        last_pass_(families->last_pass, labels) {}

  void moved(std::chrono::nanoseconds duration) override {
    movements_.Increment();
    duration_.Observe(seconds(duration));
  }
  void drained(std::chrono::nanoseconds duration) override {
    drains_.Increment();
    duration_.Observe(seconds(duration));
  }
  void failed(std::string_view reason) override {
    prometheus::Labels labels = labels_;
    labels.emplace("reason", reason);
    families_->failures.Add(labels).Increment();
  }
  void set_pending(std::size_t moves) override { pending_->Set(static_cast<double>(moves)); }
  void set_draining(std::size_t objects, std::chrono::nanoseconds oldest) override {
    draining_->Set(static_cast<double>(objects));
    oldest_drain_->Set(seconds(oldest));
  }
  void set_objects(const std::map<std::string, std::size_t>& by_shard) override {
    for (auto known = objects_.begin(); known != objects_.end();) {
      if (by_shard.contains(known->first)) {
        ++known;
      } else {
        known->second.remove();
        known = objects_.erase(known);
      }
    }
    for (const auto& [shard, count] : by_shard) {
      prometheus::Labels labels = labels_;
      labels.emplace("shard", shard);
      objects_.try_emplace(shard, families_->objects, labels).first->second.set(static_cast<double>(count));
    }
  }
  void set_unassigned(const Strays& unassigned) override {
    unassigned_.set(static_cast<double>(unassigned.objects));
    oldest_unassigned_.set(seconds(unassigned.oldest));
  }
  void set_misplaced(const Strays& misplaced) override {
    misplaced_.set(static_cast<double>(misplaced.objects));
    oldest_misplaced_.set(seconds(misplaced.oldest));
  }
  void set_last_pass(WallTime ended) override { last_pass_.set(seconds(ended.time_since_epoch())); }
  void remove_gauges() override {
    set_objects({});
    for (LateGauge* gauge : {&unassigned_, &oldest_unassigned_, &misplaced_, &oldest_misplaced_, &last_pass_}) {
      gauge->remove();
    }
    families_->pending.Remove(pending_);
    families_->draining.Remove(draining_);
    families_->oldest_drain.Remove(oldest_drain_);
    pending_ = draining_ = oldest_drain_ = nullptr;
  }

 private:
  const std::shared_ptr<MetricFamilies> families_;
  const prometheus::Labels labels_;
  prometheus::Counter& movements_;
  prometheus::Counter& drains_;
  prometheus::Histogram& duration_;
  prometheus::Gauge* pending_;
  prometheus::Gauge* draining_;
  prometheus::Gauge* oldest_drain_;           // null once removed
  std::map<std::string, LateGauge> objects_;  // by shard
  LateGauge unassigned_;
  LateGauge oldest_unassigned_;
  LateGauge misplaced_;
  LateGauge oldest_misplaced_;
  LateGauge last_pass_;
};

}  // namespace

Metrics::Metrics(prometheus::Registry* registry) {
  auto own = registry == nullptr ? std::make_shared<prometheus::Registry>() : nullptr;
  prometheus::Registry& used = registry == nullptr ? *own : *registry;
  families_ = std::make_shared<MetricFamilies>(MetricFamilies{.own = std::move(own), .registry = used});
}

std::shared_ptr<ResourceMetrics> Metrics::of(std::string_view ring, const ring::GroupResource& resource) {
  return std::make_shared<Series>(families_, prometheus::Labels{{"controllerring", std::string(ring)},
                                                                {"group", resource.group},
                                                                {"resource", resource.resource}});
}

}  // namespace sharder::rebalancer
