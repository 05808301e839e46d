// What an admission review costs besides HTTP and TLS: decode, decide, write the answer; alone, and within the handler
// with its metrics. Arguments: shards of the ring, bytes of the review.
#include <benchmark/benchmark.h>
#include <prometheus/registry.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/guarded.h"
#include "base/log.h"
#include "http/server.h"
#include "ring/ring_set.h"
#include "webhook/admission_review.h"
#include "webhook/assign.h"
#include "webhook/handler.h"
#include "webhook/metrics.h"
#include "webhook/review_response.h"

namespace {

namespace ring = sharder::ring;
namespace webhook = sharder::webhook;
using nlohmann::json;

std::shared_ptr<const ring::RingSet> ring_set(std::int64_t shards) {
  std::vector<std::string> names;
  for (std::int64_t i = 0; i < shards; ++i) {
    names.push_back("checksum-controller-5d9c7f9b8-" + std::to_string(i));
  }
  auto rings = std::make_shared<ring::RingSet>();
  rings->version = 1;
  rings->rings.emplace("example", std::make_shared<const ring::RingEntry>(
                                      ring::ControllerRing{.name = "example",
                                                           .uid = {},
                                                           .generation = 1,
                                                           .resources = {{.main = {"", "secrets"}, .controlled = {}},
                                                                         {.main = {"apps", "deployments"},
                                                                          .controlled = {{"apps", "replicasets"}}}},
                                                           .namespace_selector = {}},
                                      std::make_shared<const ring::Ring>(std::move(names))));
  return rings;
}

json container(int i) {
  return {{"name", "container-" + std::to_string(i)},
          {"image", "registry.example.com/team/image:v1.2.3"},
          {"env", json::array({{{"name", "LOG_LEVEL"}, {"value", "info"}}, {{"name", "PORT"}, {"value", "8080"}}})},
          {"resources", {{"limits", {{"cpu", "500m"}, {"memory", "128Mi"}}}}},
          {"terminationMessagePath", "/dev/termination-log"},
          {"imagePullPolicy", "IfNotPresent"}};
}

json managed(int i) {
  const std::string key = "k:{\"name\":\"container-" + std::to_string(i) + "\"}";
  return {{"manager", "manager-" + std::to_string(i)},
          {"operation", "Update"},
          {"fieldsV1",
           {{"f:spec",
             {{"f:containers",
               {{key,
                 {{".", json::object()},
                  {"f:image", json::object()},
                  {"f:env", {{".", json::object()}}},
                  {"f:name", json::object()}}}}}}}}}};
}

// CREATE of a Deployment, grown by containers and managed fields to `bytes`.
std::string review(std::size_t bytes) {
  json sent = json::parse(R"({
    "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
    "request": {
      "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
      "kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
      "resource": {"group": "apps", "version": "v1", "resource": "deployments"},
      "requestKind": {"group": "apps", "version": "v1", "kind": "Deployment"},
      "requestResource": {"group": "apps", "version": "v1", "resource": "deployments"},
      "name": "web", "namespace": "default", "operation": "CREATE",
      "userInfo": {"username": "system:serviceaccount:default:deployer", "uid": "014fbff9-a098-4c4c-8ba2-3d16f0d9f4d3",
                   "groups": ["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"],
                   "extra": {"authentication.kubernetes.io/credential-id": ["JTI=0f5c2a3d-6c1b-4a51-9d3e"]}},
      "object": {
        "kind": "Deployment", "apiVersion": "apps/v1",
        "metadata": {"name": "web", "namespace": "default", "creationTimestamp": null,
                     "labels": {"app.kubernetes.io/name": "web"}, "managedFields": []},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}},
                 "template": {"metadata": {"labels": {"app": "web"}},
                              "spec": {"containers": [], "restartPolicy": "Always"}}}
      },
      "oldObject": null, "dryRun": false,
      "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": "kubectl-create"}
    }
  })");
  auto& object = sent["request"]["object"];
  for (int i = 0; sent.dump().size() < bytes; ++i) {
    object["spec"]["template"]["spec"]["containers"].push_back(container(i));
    object["metadata"]["managedFields"].push_back(managed(i));
  }
  return sent.dump();
}

struct Body {
  explicit Body(std::string text) : bytes(std::move(text)), size(bytes.size()) {
    bytes.append(sharder::http::kBodyPadding, '\0');
  }
  std::string_view view() const { return {bytes.data(), size}; }

  std::string bytes;
  std::size_t size;
};

void arguments(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgNames({"shards", "bytes"})->Args({5, 2000})->Args({50, 2000})->Args({5, 60'000})->Args({50, 60'000});
}

void decode_assign_encode(benchmark::State& state) {
  const auto rings = ring_set(state.range(0));
  const std::string label = rings->find("example")->shard_label();
  const Body body(review(static_cast<std::size_t>(state.range(1))));
  webhook::ReviewDecoder decoder(std::size_t{7} << 20);
  webhook::Assigner assigner{std::mt19937_64(1)};
  std::string answer;
  for (auto _ : state) {
    const auto decoded = decoder.decode(body.view(), label);
    webhook::write_review_response(answer, decoded->uid, assigner.decide(*decoded, rings.get(), "example"));
    benchmark::DoNotOptimize(answer.data());
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(body.size));
}
BENCHMARK(decode_assign_encode)->Apply(arguments);

void decode_only(benchmark::State& state) {
  const Body body(review(static_cast<std::size_t>(state.range(1))));
  webhook::ReviewDecoder decoder(std::size_t{7} << 20);
  for (auto _ : state) {
    benchmark::DoNotOptimize(decoder.decode(body.view(), "shard.alpha.sharding.timebertt.dev/example"));
  }
}
BENCHMARK(decode_only)->ArgNames({"shards", "bytes"})->Args({0, 2000})->Args({0, 60'000});

void handle(benchmark::State& state) {
  sharder::Published<ring::RingSet> rings;
  rings.publish(ring_set(state.range(0)));
  prometheus::Registry registry;
  webhook::WebhookMetrics metrics(registry);
  const sharder::SystemClock clock;
  webhook::WebhookHandler handler(rings, metrics, clock, sharder::Logger::to_stderr(sharder::LogLevel::kInfo, {}));
  const Body body(review(static_cast<std::size_t>(state.range(1))));
  const sharder::http::Request request{.method = "POST",
                                       .path = "/webhooks/sharder/controllerring/example",
                                       .query = "timeout=5s",
                                       .content_type = "application/json",
                                       .authorization = {},
                                       .body = body.view()};
  for (auto _ : state) {
    handler.handle(request, [](sharder::http::Response response) { benchmark::DoNotOptimize(response.body.data()); });
  }
}
BENCHMARK(handle)->Apply(arguments);

}  // namespace

BENCHMARK_MAIN();
