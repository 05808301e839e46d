#include "webhook/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "ring/controller_ring.h"
#include "ring/names.h"
#include "ring/ring_set.h"

namespace sharder::webhook {
namespace {

prometheus::Labels webhook_label() {
  return {{"webhook", std::string(ring::kWebhookPathPrefix)}};
}

// The statuses of the handler's answers.
constexpr std::array kStatuses = {200, 400, 404, 405, 415, 500};

prometheus::Histogram::BucketBoundaries latency_buckets() {
  return {25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3,                        // for our times
          5e-3,  0.01,  0.025,  0.05,   0.1,    0.25, 0.5,    1.0, 2.5, 5.0, 10.0};  // Go's defaults
}

prometheus::Labels with_code(int status) {
  prometheus::Labels labels = webhook_label();
  labels.emplace("code", std::to_string(status));
  return labels;
}

}  // namespace

struct WebhookMetrics::Impl {
  using Series = std::tuple<std::string, std::string, std::string>;  // ring, group, resource

  explicit Impl(prometheus::Registry& registry)
      : in_flight(prometheus::BuildGauge()
                      .Name("controller_runtime_webhook_requests_in_flight")
                      .Help("Current number of admission requests being served.")
                      .Register(registry)
                      .Add(webhook_label())),
        latency(prometheus::BuildHistogram()
                    .Name("controller_runtime_webhook_latency_seconds")
                    .Help("Histogram of the latency of processing admission requests")
                    .Register(registry)
                    .Add(webhook_label(), latency_buckets())),
        panics(prometheus::BuildCounter()
                   .Name("controller_runtime_webhook_panics_total")
                   .Help("Total number of exceptions while processing admission requests.")
                   .Register(registry)
                   .Add({})),
        warnings(prometheus::BuildCounter()
                     .Name("controller_sharding_admission_warnings_total")
                     .Help("Total number of objects that were allowed without a shard, with a warning.")
                     .Register(registry)
                     .Add({})),
        refused_clients(prometheus::BuildCounter()
                            .Name("controller_sharding_refused_clients_total")
                            .Help("Total number of TLS handshakes that failed because of the client's certificate.")
                            .Register(registry)
                            .Add({})),
        assignments(prometheus::BuildCounter()
                        .Name("controller_sharding_assignments_total")
                        .Help("Total number of shard assignments made by the webhook.")
                        .Register(registry)) {
    auto& requests = prometheus::BuildCounter()
                         .Name("controller_runtime_webhook_requests_total")
                         .Help("Total number of admission requests by HTTP status code.")
                         .Register(registry);
    std::ranges::transform(kStatuses, by_status.begin(), [&](int status) { return &requests.Add(with_code(status)); });
  }

  // A counter lost its last holder. When the same series has been asked for again meanwhile, it stays.
  void release(const Series& series, prometheus::Counter* counter) {
    std::lock_guard lock(mutex);
    if (const auto held = series_held.find(series); held != series_held.end() && held->second.expired()) {
      series_held.erase(held);
      assignments.Remove(counter);
    }
  }

  prometheus::Gauge& in_flight;
  prometheus::Histogram& latency;
  prometheus::Counter& panics;
  prometheus::Counter& warnings;
  prometheus::Counter& refused_clients;
  prometheus::Family<prometheus::Counter>& assignments;
  std::array<prometheus::Counter*, kStatuses.size()> by_status{};

  std::mutex mutex;
  std::map<Series, std::weak_ptr<prometheus::Counter>> series_held;  // guarded by mutex
};

WebhookMetrics::WebhookMetrics(prometheus::Registry& registry) : impl_(std::make_shared<Impl>(registry)) {}
WebhookMetrics::~WebhookMetrics() = default;

void WebhookMetrics::begin_request() {
  impl_->in_flight.Increment();
}

void WebhookMetrics::end_request(int status, std::chrono::nanoseconds latency) {
  impl_->in_flight.Decrement();
  impl_->latency.Observe(std::chrono::duration<double>(latency).count());
  const auto* const known = std::ranges::find(kStatuses, status);
  if (known != kStatuses.end()) {  // always; this runs outside the handler's guard against exceptions
    impl_->by_status.at(static_cast<std::size_t>(known - kStatuses.begin()))->Increment();
  }
}

void WebhookMetrics::count_panic() {
  impl_->panics.Increment();
}

void WebhookMetrics::count_warning() {
  impl_->warnings.Increment();
}

void WebhookMetrics::count_refused_client() {
  impl_->refused_clients.Increment();
}

std::shared_ptr<prometheus::Counter> WebhookMetrics::assignments(std::string_view ring,
                                                                 const ring::GroupResource& resource) {
  Impl::Series series(ring, resource.group, resource.resource);
  std::lock_guard lock(impl_->mutex);
  auto& held = impl_->series_held[series];
  if (auto counter = held.lock()) {
    return counter;
  }
  auto& counter = impl_->assignments.Add(
      {{"controllerring", std::string(ring)}, {"group", resource.group}, {"resource", resource.resource}});
  std::shared_ptr<prometheus::Counter> holder(
      &counter, [impl = impl_, series = std::move(series)](prometheus::Counter* gone) { impl->release(series, gone); });
  held = holder;
  return holder;
}

void AssignmentCounters::count(std::string_view ring, std::string_view group, std::string_view resource) {
  auto known = by_ring_.find(ring);
  if (known == by_ring_.end()) {
    known = by_ring_.emplace(ring, std::vector<Entry>()).first;
  }
  auto& entries = known->second;
  auto entry = std::ranges::find_if(entries, [&](const Entry& other) {
    return other.resource.group == group && other.resource.resource == resource;
  });
  if (entry == entries.end()) {
    ring::GroupResource added{.group = std::string(group), .resource = std::string(resource)};
    auto counter = metrics_.assignments(ring, added);
    entry = entries.insert(entries.end(), Entry{.resource = std::move(added), .counter = std::move(counter)});
  }
  entry->counter->Increment();
}

void AssignmentCounters::keep_only(const ring::RingSet& rings) {
  std::erase_if(by_ring_, [&](const auto& known) { return rings.find(known.first) == nullptr; });
  for (auto& [name, entries] : by_ring_) {
    const ring::RingEntry* ring = rings.find(name);
    std::erase_if(entries, [&](const Entry& entry) {
      return ring->role(entry.resource.group, entry.resource.resource) == ring::Role::kNone;
    });
  }
}

}  // namespace sharder::webhook
