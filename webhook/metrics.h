#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ring/controller_ring.h"
#include "ring/ring_set.h"

namespace prometheus {
class Counter;
class Registry;
}  // namespace prometheus

namespace sharder::webhook {

// The webhook's metrics, shared by its loops; safe from any thread. It exports:
//   controller_runtime_webhook_requests_total{webhook,code}, controller_runtime_webhook_latency_seconds{webhook},
//   controller_runtime_webhook_requests_in_flight{webhook}, controller_runtime_webhook_panics_total: names, labels and
//     meaning as controller-runtime has them. The webhook label is the path prefix that all rings share, as with the
//     Go sharder, so there is one series however many rings there are. The histogram has Go's default buckets and finer
//     ones below.
//   controller_sharding_assignments_total{controllerring,group,resource} (protocol, 8): a series is there from the
//     first assignment on until no loop holds its counter any more (AssignmentCounters).
//   controller_sharding_admission_warnings_total: objects that were allowed without a shard, with a warning.
//   controller_sharding_refused_clients_total: TLS handshakes that failed because of the client's certificate.
class WebhookMetrics {
 public:
  // Registers the families. `registry` outlives this and all counters it gave away.
  explicit WebhookMetrics(prometheus::Registry& registry);
  ~WebhookMetrics();

  // A request began; it ended with this HTTP status.
  void begin_request();
  void end_request(int status, std::chrono::nanoseconds latency);
  // An exception was caught.
  void count_panic();
  void count_warning();
  void count_refused_client();

  // The counter of the assignments of one resource. The series is removed with the last copy of the pointer.
  std::shared_ptr<prometheus::Counter> assignments(std::string_view ring, const ring::GroupResource& resource);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

// One loop's own pointers to its assignment counters, so that counting needs no lock. Owned and used by that loop.
// Bounded: there is one counter for each resource of a ring with assigned objects. It is removed with the resource, the
// ring, or the loop.
class AssignmentCounters {
 public:
  explicit AssignmentCounters(WebhookMetrics& metrics) : metrics_(metrics) {}

  // One more object of this resource was assigned. Allocates only the first time.
  void count(std::string_view ring, std::string_view group, std::string_view resource);
  // Forgets what is no longer in `rings`.
  void keep_only(const ring::RingSet& rings);

 private:
  struct Entry {
    ring::GroupResource resource;
    std::shared_ptr<prometheus::Counter> counter;
  };

  WebhookMetrics& metrics_;
  std::map<std::string, std::vector<Entry>, std::less<>> by_ring_;
};

}  // namespace sharder::webhook
