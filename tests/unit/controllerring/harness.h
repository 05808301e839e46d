#pragma once

#include <doctest/doctest.h>
#include <prometheus/registry.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "controllerring/controller.h"
#include "controllerring/webhook_configuration.h"
#include "kube/client/resource.h"
#include "tests/support/fake_api.h"

namespace sharder::testing {

// What a manager is told that does not use force.
inline constexpr const char* kEnforcerConflict =
    "PATCH /x: 409 Conflict: Apply failed with 1 conflict: conflict with \"admissionsenforcer\" using "
    "admissionregistration.k8s.io/v1: .webhooks[name=\"s\"].namespaceSelector";

inline Error make_error(ErrorCode code, const std::string& message) {
  return {.code = code, .message = message};
}

// A controller, the snapshot it works with, and a small API server behind it: rings, webhook configurations, discovery.
struct ControllerHarness {
  FakeClock clock;
  FakeExecutor executor{clock};
  FakeApi api{executor};
  std::shared_ptr<std::string> lines = std::make_shared<std::string>();
  std::shared_ptr<prometheus::Registry> registry = std::make_shared<prometheus::Registry>();
  kube::Discovery discovery{api, clock, Logger::none()};
  kube::EventRecorder events{api, clock, std::string(controllerring::kFieldManager), Logger::none()};
  Published<ring::Snapshot> snapshots;
  WaitGroup leader_work;
  std::unique_ptr<controllerring::Controller> controller;

  // The API server's side.
  std::map<std::string, nlohmann::json> rings;
  std::vector<kube::Request> applies;
  std::vector<nlohmann::json> statuses;  // written
  std::vector<nlohmann::json> told;      // Events
  std::deque<Error> apply_errors;
  std::deque<Error> status_errors;
  std::optional<Error> all_fail;
  bool has_foos = false;
  std::optional<Error> metrics_fail;  // discovery of metrics.k8s.io
  // A manager that changes the webhook as soon as it differs from what he wants, and owns what he has changed.
  std::function<void(nlohmann::json& webhook)> insists;
  bool readable = true;  // the webhook configuration
  nlohmann::json live;   // the last one that was applied, as it stands in the cluster
  std::size_t reads = 0;
  std::size_t patch_reads = 0;  // by a patch of nothing
  bool watched = false;
  std::size_t opened = 0;  // streams

  explicit ControllerHarness(controllerring::WebhookSettings webhook = {}) {
    controller = std::make_unique<controllerring::Controller>(
        executor, api, discovery, events, clock, snapshots,
        controllerring::ControllerOptions{.webhook = std::move(webhook), .sync_period = std::chrono::minutes(5)},
        registry.get(), Logger::to_string(lines), leader_work);
  }
  // It leads, or a request of it is without an answer.
  bool is_at_work() { return !leader_work.wait_for(std::chrono::seconds(0)); }
  ~ControllerHarness() {
    controller.reset();
    executor.run();
  }

  ring::RingStatus make_ring(const std::string& name, std::int64_t generation = 1) {
    ring::RingStatus status;
    status.spec = {.name = name,
                   .uid = "uid-" + name,
                   .generation = generation,
                   .resources = {{.main = {"", "secrets"}, .controlled = {{"", "configmaps"}}}},
                   .namespace_selector = {}};
    return status;
  }
  void publish(std::vector<ring::RingStatus> all) {
    auto snapshot = std::make_shared<ring::Snapshot>();
    for (ring::RingStatus& each : all) {
      if (!rings.contains(each.spec.name)) {
        rings[each.spec.name] = {
            {"metadata", {{"name", each.spec.name}, {"uid", each.spec.uid}, {"resourceVersion", "1"}}}};
      }
      const std::string name = each.spec.name;
      snapshot->rings[name] = std::make_shared<const ring::RingStatus>(std::move(each));
    }
    snapshots.publish(std::move(snapshot));
  }
  void lead() {
    controller->on_leading(true);
    settle();
  }
  // Answers requests until there are none.
  void settle() {
    open_watches();
    for (executor.run(); !api.pending.empty(); executor.run()) {
      serve();
    }
  }
  void advance(std::chrono::nanoseconds time) {
    const SteadyTime end = clock.steady() + time;
    settle();
    while (clock.steady() < end) {
      executor.advance(std::min<std::chrono::nanoseconds>(std::chrono::milliseconds(50), end - clock.steady()));
      settle();
    }
  }
  void serve() {
    const kube::Request request = api.pending.front().request;
    if (all_fail) {
      api.fail(*all_fail);
    } else if (request.target.starts_with("/api/v1/namespaces/")) {
      told.push_back(nlohmann::json::parse(request.body));
      api.answer(request.body);
    } else if (request.target == "/api/v1") {
      api.answer(R"({"resources":[{"name":"secrets","kind":"Secret","namespaced":true},
                                  {"name":"configmaps","kind":"ConfigMap","namespaced":true}]})");
    } else if (request.target == "/apis/example.com") {
      if (has_foos) {
        api.answer(R"({"preferredVersion":{"version":"v1"},"versions":[{"version":"v1"}]})");
      } else {
        api.fail(make_error(ErrorCode::kNotFound, "GET /apis/example.com: 404 Not Found"));
      }
    } else if (request.target == "/apis/metrics.k8s.io") {
      api.answer(R"({"preferredVersion":{"version":"v1beta1"},"versions":[{"version":"v1beta1"}]})");
    } else if (request.target == "/apis/metrics.k8s.io/v1beta1") {
      if (metrics_fail) {
        api.fail(*metrics_fail);
      } else {
        api.answer(R"({"resources":[{"name":"pods","kind":"PodMetrics","namespaced":true}]})");
      }
    } else if (request.target == "/apis/example.com/v1") {
      api.answer(R"({"resources":[{"name":"foos","kind":"Foo","namespaced":true}]})");
    } else if (request.target.contains("/mutatingwebhookconfigurations/")) {
      serve_apply(request);
    } else if (request.target.contains("/controllerrings/")) {
      serve_ring(request);
    } else {
      api.fail(make_error(ErrorCode::kNotFound, "unexpected " + request.target));
    }
  }
  void serve_apply(const kube::Request& request) {
    const bool by_patch = request.target.contains("dryRun=All");
    if (request.method == kube::Method::kGet || by_patch) {
      CHECK((!by_patch || request.body == "{}"));
      serve_read(by_patch);
      return;
    }
    applies.push_back(request);
    if (!apply_errors.empty()) {
      api.fail(std::exchange(apply_errors.front(), {}));
      apply_errors.pop_front();
      return;
    }
    nlohmann::json body = nlohmann::json::parse(request.body);
    if (insists && !live.is_null() && !request.target.contains("force=true") && live["webhooks"] != body["webhooks"]) {
      api.fail(make_error(ErrorCode::kConflict, kEnforcerConflict));
      return;
    }
    keep_ca_bundle(body);
    body["metadata"]["resourceVersion"] = std::to_string(100 + applies.size());
    const bool changed = live.is_null() || live["webhooks"] != body["webhooks"];
    live = body;
    api.answer(body.dump());
    if (changed) {
      show("MODIFIED", live);
      interfere();
    }
  }
  void serve_read(bool by_patch) {
    by_patch ? ++patch_reads : ++reads;
    if (!readable && !by_patch) {
      api.fail(make_error(ErrorCode::kForbidden, "GET: 403 Forbidden"));
    } else if (live.is_null()) {
      api.fail(make_error(ErrorCode::kNotFound, "404 Not Found"));
    } else {
      api.answer(live.dump());
    }
  }
  // The configuration stands in the cluster with this caBundle, which an apply of this manager has set.
  void stand(const std::string& bundle, std::string_view manager, const std::string& version) {
    live = nlohmann::json::parse(controllerring::webhook_configuration(make_ring("r").spec, {}));
    live["webhooks"][0]["clientConfig"]["caBundle"] = bundle;
    live["metadata"]["resourceVersion"] = version;
    const std::string webhook = "k:" + nlohmann::json{{"name", live["webhooks"][0]["name"]}}.dump();
    const nlohmann::json owned{{"f:clientConfig", {{"f:caBundle", nlohmann::json::object()}}}};
    const nlohmann::json fields{{"f:webhooks", {{webhook, owned}}}};
    live["metadata"]["managedFields"] = {
        {{"manager", manager}, {"operation", "Apply"}, {"fieldsType", "FieldsV1"}, {"fieldsV1", fields}}};
  }
  // As server-side apply does: what the applier leaves out stays.
  void keep_ca_bundle(nlohmann::json& body) const {
    const nlohmann::json::json_pointer place("/webhooks/0/clientConfig/caBundle");
    if (live.contains(place) && !body.contains(place)) {
      body[place] = live[place];
    }
  }
  void interfere() {
    const nlohmann::json before = live;
    if (insists) {
      insists(live["webhooks"][0]);
    }
    if (live != before) {
      show("MODIFIED", live);
    }
  }
  // On the watch of webhook configurations, where there is one.
  void show(const std::string& type, const nlohmann::json& object) {
    if (opened > 0) {
      configuration_watch().on_data(nlohmann::json({{"type", type}, {"object", object}}).dump() + "\n");
    }
  }
  // From now on each watch of webhook configurations, also one that is begun anew, shows what there is.
  void open_watch() {
    watched = true;
    settle();
  }
  void open_watches() {
    while (watched && opened < api.streams.size()) {
      api.streams[opened++]->sink->on_open();
      if (!live.is_null()) {
        show("ADDED", live);
      }
      show("BOOKMARK",
           {{"metadata", {{"resourceVersion", "1"}, {"annotations", {{"k8s.io/initial-events-end", "true"}}}}}});
      bookmark_later(api.streams[opened - 1]);
    }
  }
  void bookmark_later(const std::shared_ptr<FakeApi::OpenStream>& stream) {
    executor.post_after(std::chrono::minutes(1), [this, stream] {
      if (!stream->cancelled) {
        stream->sink->on_data("{\"type\":\"BOOKMARK\",\"object\":{}}\n");
        bookmark_later(stream);
      }
    });
  }
  void serve_ring(const kube::Request& request) {
    const std::string name = request.target.substr(request.target.find("/controllerrings/") + 17);
    const auto found = rings.find(name.substr(0, name.find_first_of("/?")));
    if (found == rings.end()) {
      api.fail(make_error(ErrorCode::kNotFound, "no such ring"));
    } else if (request.method == kube::Method::kGet) {
      api.answer(found->second.dump());
    } else if (!status_errors.empty()) {
      api.fail(std::exchange(status_errors.front(), {}));
      status_errors.pop_front();
    } else {
      CHECK(request.method == kube::Method::kPut);
      CHECK(request.target.ends_with("/status?fieldManager=controllerring-controller"));
      found->second = nlohmann::json::parse(request.body);
      statuses.push_back(found->second["status"]);
      api.answer(request.body);
    }
  }
  nlohmann::json ready(std::size_t status) const { return statuses.at(status)["conditions"][0]; }
  kube::StreamSink& configuration_watch() { return *api.streams.back()->sink; }
};

}  // namespace sharder::testing
