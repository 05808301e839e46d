#include "webhook/metrics.h"

#include <doctest/doctest.h>
#include <prometheus/counter.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "tests/unit/webhook/support.h"

namespace webhook = sharder::webhook;
using webhook::testing::ring_set;

namespace {

std::string text_of(prometheus::Registry& registry) {
  return prometheus::TextSerializer().Serialize(registry.Collect());
}

}  // namespace

TEST_CASE("a series lives as long as somebody holds its counter") {
  prometheus::Registry registry;
  webhook::WebhookMetrics metrics(registry);
  auto one = metrics.assignments("example", {"apps", "deployments"});
  auto two = metrics.assignments("example", {"apps", "deployments"});
  CHECK(one == two);
  one->Increment();
  one.reset();
  CHECK(text_of(registry).find("controllerring=\"example\"") != std::string::npos);
  two.reset();
  CHECK(text_of(registry).find("controllerring=\"example\"") == std::string::npos);
}

TEST_CASE("counters go with the resource or the ring that is no longer there") {
  prometheus::Registry registry;
  webhook::WebhookMetrics metrics(registry);
  webhook::AssignmentCounters counters(metrics);
  counters.count("example", "apps", "deployments");
  counters.count("example", "", "gone");
  counters.count("former", "", "secrets");
  counters.keep_only(ring_set());
  const std::string text = text_of(registry);
  CHECK(text.find("resource=\"deployments\"") != std::string::npos);
  CHECK(text.find("resource=\"gone\"") == std::string::npos);
  CHECK(text.find("former") == std::string::npos);
}

TEST_CASE("the latency histogram has Go's buckets and finer ones") {
  prometheus::Registry registry;
  webhook::WebhookMetrics metrics(registry);
  metrics.begin_request();
  CHECK(text_of(registry).find("webhook_requests_in_flight{webhook=\"/webhooks/sharder/controllerring/\"} 1") !=
        std::string::npos);
  metrics.end_request(200, std::chrono::microseconds(30));
  const std::string text = text_of(registry);
  const std::string bucket =
      "controller_runtime_webhook_latency_seconds_bucket{webhook=\"/webhooks/sharder/controllerring/\",le=\"";
  CHECK(text.find(bucket + "2.5e-05\"} 0") != std::string::npos);
  CHECK(text.find(bucket + "5e-05\"} 1") != std::string::npos);
  for (const char* edge : {"0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"}) {
    CAPTURE(edge);
    CHECK(text.find(bucket + edge + "\"} 1") != std::string::npos);
  }
}

TEST_CASE("loops that come and go share a series without losing counts while one holds it") {
  prometheus::Registry registry;
  webhook::WebhookMetrics metrics(registry);
  const auto held = metrics.assignments("example", {"", "secrets"});
  std::vector<std::jthread> loops;
  for (int i = 0; i < 4; ++i) {
    loops.emplace_back([&metrics] {
      for (int round = 0; round < 500; ++round) {
        webhook::AssignmentCounters counters(metrics);
        counters.count("example", "", "secrets");
        counters.count("passing", "", "secrets");
      }
    });
  }
  loops.clear();
  CHECK(held->Value() == 2000);
  CHECK(text_of(registry).find("passing") == std::string::npos);
}
