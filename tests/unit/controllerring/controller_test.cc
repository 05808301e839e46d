#include "controllerring/controller.h"

#include <doctest/doctest.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>

#include "controllerring/webhook_configuration.h"
#include "kube/client/resource.h"
#include "tests/unit/controllerring/harness.h"

using namespace sharder;
using namespace sharder::controllerring;
using namespace std::chrono_literals;
using nlohmann::json;
using sharder::kube::Method;
using sharder::testing::make_error;
using Harness = sharder::testing::ControllerHarness;

namespace {

constexpr const char* kManyConflicts =
    "PATCH /x: 409 Conflict: Apply failed with 2 conflicts: conflicts with \"kubectl-edit\" using v1:\n"
    "- .webhooks[name=\"s\"].timeoutSeconds\n- .webhooks[name=\"s\"].failurePolicy";
constexpr const char* kCaConflict =
    "PATCH /x: 409 Conflict: Apply failed with 1 conflict: conflict with \"cainjector\" using v1: "
    ".webhooks[name=\"s\"].clientConfig.caBundle";

Error answered(int status, const std::string& message) {
  return {.code = ErrorCode::kUnavailable, .message = message, .http_status = status};
}

bool is_forced(const kube::Request& request) {
  return request.target.contains("force=true");
}

}  // namespace

TEST_CASE("the leader applies the webhook configuration and writes the status (protocol, 2 and 5)") {
  Harness h;
  ring::RingStatus ring = h.make_ring("r", 3);
  ring.shards.resize(3);
  ring.available_shards = 2;
  h.publish({ring});
  h.controller->on_ring_added("r");
  h.settle();
  CHECK(h.applies.empty());  // not the leader
  CHECK_FALSE(h.is_at_work());

  h.lead();
  REQUIRE(h.applies.size() == 1);
  CHECK(h.applies[0].method == Method::kPatch);
  CHECK(h.applies[0].content_type == kube::kApplyPatch);
  CHECK(h.applies[0].target.starts_with(
      "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/controllerring-r?"));
  CHECK(h.applies[0].target.contains("fieldManager=controllerring-controller"));
  CHECK_FALSE(is_forced(h.applies[0]));
  CHECK(h.applies[0].body == webhook_configuration(ring.spec, {}));
  REQUIRE(h.statuses.size() == 1);
  CHECK(h.statuses[0]["shards"] == 3);
  CHECK(h.statuses[0]["availableShards"] == 2);
  CHECK(h.statuses[0]["observedGeneration"] == 3);
  CHECK(h.ready(0)["status"] == "True");
  CHECK(h.told.empty());
  CHECK(h.is_at_work());  // for as long as it leads
}

TEST_CASE("it applies again on each change of the ring or its shards, and every sync period (protocol, 5)") {
  Harness h;
  h.publish({h.make_ring("r")});
  h.lead();
  h.controller->on_shards_changed("r");
  h.advance(1s);
  CHECK(h.applies.size() == 2);
  CHECK(h.statuses.size() == 1);  // it says so already
  h.publish({h.make_ring("r", 2)});
  h.controller->on_ring_changed("r");
  h.advance(1s);
  CHECK(h.applies.size() == 3);
  CHECK(h.statuses.size() == 2);
  h.advance(5min - 2s);
  CHECK(h.applies.size() == 3);
  h.advance(4s);
  CHECK(h.applies.size() == 4);
  h.publish({h.make_ring("r", 2), h.make_ring("s")});
  h.controller->on_ring_added("s");
  h.advance(1s);
  CHECK(h.applies.size() == 5);
  CHECK(h.applies[4].target.contains("controllerring-s"));
}

TEST_CASE("many shards that come at once are one or two reconciliations") {
  Harness h;
  h.publish({h.make_ring("r")});
  h.lead();
  for (int i = 0; i < 100; ++i) {
    h.controller->on_shards_changed("r");
  }
  h.advance(1s);
  CHECK(h.applies.size() == 2);
  // Some of them while one is under way: once more behind it.
  h.controller->on_shards_changed("r");
  h.executor.run();
  CHECK_FALSE(h.api.pending.empty());
  for (int i = 0; i < 100; ++i) {
    h.controller->on_shards_changed("r");
  }
  h.advance(1s);
  CHECK(h.applies.size() == 4);
}

TEST_CASE(
    "a resource that does not exist: Ready False that names it, an Event, retries; other rings go on (protocol, 2)") {
  Harness h;
  ring::RingStatus wrong = h.make_ring("wrong");
  wrong.spec.resources.push_back({.main = {"example.com", "foos"}, .controlled = {}});
  h.publish({h.make_ring("fine"), wrong});
  h.lead();
  h.advance(200ms);
  REQUIRE(h.applies.size() == 2);  // what it is does not depend on what is served
  REQUIRE(h.statuses.size() == 2);
  const json condition = h.rings["wrong"]["status"]["conditions"][0];
  CHECK(condition["status"] == "False");
  CHECK(condition["reason"] == "ReconciliationFailed");
  CHECK(condition["message"] == "Resource \"foos.example.com\" is not served by the API server");
  REQUIRE(h.told.size() == 1);
  CHECK(h.told[0]["type"] == "Warning");
  CHECK(h.told[0]["reason"] == "ReconciliationFailed");
  CHECK(h.told[0]["message"] == condition["message"]);
  CHECK(h.told[0]["metadata"]["namespace"] == "default");
  CHECK(h.told[0]["source"]["component"] == "controllerring-controller");
  CHECK(h.told[0]["involvedObject"]["name"] == "wrong");

  // Tried again, but not told again.
  h.advance(2min);
  CHECK(h.told.size() == 1);
  CHECK(h.statuses.size() == 2);
  // The CRD is installed.
  h.has_foos = true;
  h.advance(1min);
  CHECK(h.rings["wrong"]["status"]["conditions"][0]["status"] == "True");
}

TEST_CASE("a resource whose server does not answer keeps nothing from being applied, and is reported (protocol, 5)") {
  Harness h;
  h.metrics_fail = answered(503, "GET /apis/metrics.k8s.io/v1beta1: 503 Service Unavailable");
  ring::RingStatus ring = h.make_ring("r");
  ring.spec.resources.push_back({.main = {"metrics.k8s.io", "pods"}, .controlled = {}});
  ring.spec.resources.push_back({.main = {"example.com", "foos"}, .controlled = {}});
  h.publish({ring});
  h.lead();
  h.advance(200ms);
  REQUIRE(h.applies.size() == 1);
  CHECK(h.applies[0].body == webhook_configuration(ring.spec, {}));
  REQUIRE(h.statuses.size() == 1);
  CHECK(h.ready(0)["status"] == "False");
  const auto message = h.ready(0)["message"].get<std::string>();
  CHECK(message.starts_with("Resource \"pods.metrics.k8s.io\" is not served by the API server: "));
  CHECK(message.contains("503 Service Unavailable"));
  CHECK(message.ends_with("; resource \"foos.example.com\" is not served by the API server"));
  REQUIRE(h.told.size() == 1);
  CHECK(h.told[0]["reason"] == "ReconciliationFailed");
  // A change of the spec reaches the configuration all the same.
  ring.spec.generation = 2;
  ring.spec.resources.push_back({.main = {"", "serviceaccounts"}, .controlled = {}});
  h.publish({ring});
  h.controller->on_ring_changed("r");
  h.advance(1s);
  CHECK(h.live["webhooks"][0]["rules"].size() == 5);
  // It is tried again with pauses of up to a minute.
  const auto before = h.applies.size();
  h.advance(10min);
  CHECK(h.applies.size() < before + 25);
  h.metrics_fail.reset();
  h.has_foos = true;
  h.advance(1min);
  CHECK(h.rings["r"]["status"]["conditions"][0]["message"].get<std::string>().contains("serviceaccounts"));
}

TEST_CASE("a configuration that cannot be applied keeps resources from being looked up as little") {
  Harness h;
  h.apply_errors = {make_error(ErrorCode::kForbidden, "PATCH /x: 403 Forbidden")};
  ring::RingStatus ring = h.make_ring("r");
  ring.spec.resources.push_back({.main = {"example.com", "foos"}, .controlled = {}});
  h.publish({ring});
  h.lead();
  h.advance(100ms);
  CHECK(h.ready(0)["message"] ==
        "Apply webhook configuration: PATCH /x: 403 Forbidden; resource \"foos.example.com\" is not served by the API "
        "server");
}

TEST_CASE("a spec that cannot work is reported and not applied; a change of it ends the pause") {
  Harness h;
  ring::RingStatus wrong = h.make_ring("r");
  wrong.spec_error = "spec.resources: secrets is listed twice";
  h.publish({wrong});
  h.lead();
  h.advance(20s);
  CHECK(h.applies.empty());
  CHECK(h.ready(0)["message"] == "Spec.resources: secrets is listed twice");
  h.controller->on_shards_changed("r");  // makes nothing right
  h.publish({h.make_ring("r", 2)});
  h.controller->on_ring_changed("r");
  h.advance(100ms);
  CHECK(h.applies.size() == 1);
  CHECK(h.ready(1)["status"] == "True");
}

TEST_CASE("a conflict is forced once, with an Event that names the other manager (protocol, 5)") {
  Harness h;
  h.apply_errors = {make_error(ErrorCode::kConflict, kManyConflicts)};
  h.publish({h.make_ring("r")});
  h.lead();
  h.advance(100ms);
  REQUIRE(h.applies.size() == 2);
  CHECK_FALSE(is_forced(h.applies[0]));
  CHECK(is_forced(h.applies[1]));
  CHECK(h.applies[0].body == h.applies[1].body);
  REQUIRE(h.told.size() == 1);
  CHECK(h.told[0]["message"].get<std::string>().contains("\"kubectl-edit\""));
  CHECK(h.ready(0)["status"] == "True");
}

TEST_CASE("a conflict over the caBundle is reported, never forced (protocol, 5)") {
  WebhookSettings settings;
  settings.client_config.ca_bundle = "Cg==";
  Harness h(settings);
  SUBCASE("alone") {
    h.apply_errors = {make_error(ErrorCode::kConflict, kCaConflict)};
  }
  SUBCASE("with others, which are forced without it") {
    h.apply_errors = {make_error(ErrorCode::kConflict, kCaConflict), make_error(ErrorCode::kConflict, kManyConflicts)};
  }
  SUBCASE("behind others") {
    std::string message = std::string(kManyConflicts) + "\n- .webhooks[name=\"s\"].clientConfig.caBundle";
    message.replace(message.find("2 conflicts"), 1, "3");
    h.apply_errors = {make_error(ErrorCode::kConflict, message)};
  }
  h.publish({h.make_ring("r")});
  h.lead();
  h.advance(100ms);
  REQUIRE(h.applies.size() >= 2);
  CHECK(json::parse(h.applies[0].body)["webhooks"][0]["clientConfig"].contains("caBundle"));
  for (std::size_t i = 1; i < h.applies.size(); ++i) {
    CHECK_FALSE(json::parse(h.applies[i].body)["webhooks"][0]["clientConfig"].contains("caBundle"));
  }
  CHECK_FALSE(is_forced(h.applies[0]));
  CHECK(h.ready(0)["status"] == "False");
  CHECK(h.ready(0)["message"].get<std::string>().contains("caBundle"));
  CHECK_FALSE(h.told.empty());
}

TEST_CASE(
    "a caBundle of ours: nothing is applied before it has come, and each new one is applied at once (decision 8)") {
  WebhookSettings settings;
  settings.ca_bundle_is_ours = true;
  Harness h(settings);
  h.publish({h.make_ring("r")});
  h.lead();
  h.advance(5s);
  CHECK(h.applies.empty());
  CHECK(h.statuses.empty());  // a new leader has to find it out
  h.advance(6s);
  CHECK(h.applies.empty());
  CHECK(h.ready(0)["status"] == "False");
  CHECK(h.ready(0)["message"] == "The webhook configuration waits for the webhook's certificate");
  CHECK(h.told.size() == 1);
  const auto bundle = [](const kube::Request& apply) {
    return json::parse(apply.body)["webhooks"][0]["clientConfig"].value("caBundle", "");
  };
  h.controller->set_ca_bundle("one");
  h.advance(1s);
  REQUIRE(h.applies.size() == 1);
  CHECK(bundle(h.applies[0]) == "b25l");
  h.controller->set_ca_bundle("two");
  h.advance(1s);
  REQUIRE(h.applies.size() == 2);
  CHECK(bundle(h.applies[1]) == "dHdv");
  CHECK(h.ready(h.statuses.size() - 1)["status"] == "True");

  // What another leader has published meanwhile must not be taken away.
  h.controller->on_leading(false);
  h.lead();
  h.advance(5s);
  CHECK(h.applies.size() == 2);
  h.controller->set_ca_bundle("");  // left to others
  h.advance(1s);
  REQUIRE(h.applies.size() == 3);
  CHECK(bundle(h.applies[2]).empty());
}

TEST_CASE("a caBundle of ours is taken back from another manager like every other field (decision 8)") {
  WebhookSettings settings;
  settings.ca_bundle_is_ours = true;
  Harness h(settings);
  h.apply_errors = {make_error(ErrorCode::kConflict, kCaConflict)};
  h.publish({h.make_ring("r")});
  h.lead();
  h.controller->set_ca_bundle("one");
  h.advance(1s);
  REQUIRE(h.applies.size() == 2);
  CHECK_FALSE(is_forced(h.applies[0]));
  CHECK(is_forced(h.applies[1]));
  CHECK(json::parse(h.applies[1].body)["webhooks"][0]["clientConfig"]["caBundle"] == "b25l");
}

std::string applied_bundle(const kube::Request& apply) {
  return json::parse(apply.body)["webhooks"][0]["clientConfig"].value("caBundle", "");
}

TEST_CASE("without a configured caBundle, one that is ours stays until somebody else has changed it (decision 6)") {
  Harness h;
  h.stand("b3VycwoK", kFieldManager, "7");
  h.readable = true;
  SUBCASE("it may be read") {}
  SUBCASE("it may only be patched, as with the Go project's permissions") {
    h.readable = false;
  }
  h.publish({h.make_ring("r")});
  h.lead();
  REQUIRE(h.applies.size() == 1);
  CHECK(applied_bundle(h.applies[0]) == "b3VycwoK");
  CHECK(json::parse(h.applies[0].body)["metadata"]["resourceVersion"] == "7");
  CHECK_FALSE(is_forced(h.applies[0]));
  CHECK(h.patch_reads == (h.readable ? 0 : 1));
  CHECK(h.ready(0)["status"] == "True");

  h.stand("b3VycwoK", kFieldManager, "8");  // the apply has changed nothing about that
  h.controller->on_shards_changed("r");
  h.advance(1s);
  REQUIRE(h.applies.size() == 2);
  CHECK(applied_bundle(h.applies[1]) == "b3VycwoK");

  h.stand("dGhlaXJz", "cainjector", "9");
  const auto reads = h.reads;
  for (std::size_t applies = 3; applies < 6; ++applies) {
    h.controller->on_shards_changed("r");
    h.advance(1s);
    REQUIRE(h.applies.size() == applies);
    CHECK(applied_bundle(h.applies.back()).empty());
    CHECK_FALSE(json::parse(h.applies.back().body)["metadata"].contains("resourceVersion"));
  }
  CHECK(h.reads == reads + 1);  // it is never ours again
  CHECK(h.told.empty());
}

TEST_CASE("a caBundle that is kept cannot undo what somebody writes at the same time: it is read again (decision 6)") {
  Harness h;
  h.stand("b3VycwoK", kFieldManager, "7");
  bool endless = false;
  h.apply_errors = {make_error(ErrorCode::kConflict, "PATCH /x: 409 Conflict: the object has been modified")};
  SUBCASE("once") {}
  SUBCASE("all the time: it is tried later") {
    endless = true;
    h.apply_errors.insert(h.apply_errors.end(), 5, h.apply_errors.front());
  }
  h.publish({h.make_ring("r")});
  h.lead();
  CHECK(h.applies.size() == (endless ? 4 : 2));
  h.advance(10s);
  CHECK(applied_bundle(h.applies.back()) == "b3VycwoK");
  CHECK(h.ready(h.statuses.size() - 1)["status"] == "True");
}

TEST_CASE("a caBundle that is kept is never taken from another manager: it is left out (decision 6)") {
  Harness h;
  h.stand("b3Vycw==", kFieldManager, "7");  // without the empty line: another manager may have applied the same value
  h.publish({h.make_ring("r")});
  SUBCASE("the conflict names it: it is not ours any more") {
    h.apply_errors = {make_error(ErrorCode::kConflict, kCaConflict)};
    SUBCASE("alone") {}
    SUBCASE("other fields are taken back without it") {
      h.apply_errors.push_back(make_error(ErrorCode::kConflict, kManyConflicts));
    }
    const bool others = h.apply_errors.size() > 1;
    h.lead();
    REQUIRE(h.applies.size() == (others ? 3 : 2));
    CHECK(applied_bundle(h.applies[0]) == "b3VycwoK");
    CHECK(applied_bundle(h.applies[1]).empty());
    CHECK_FALSE(is_forced(h.applies[1]));
    CHECK(applied_bundle(h.applies.back()).empty());
    CHECK(is_forced(h.applies.back()) == others);
    CHECK(h.told.size() == (others ? 1 : 0));
    CHECK(h.ready(0)["status"] == "True");
    const auto reads = h.reads;
    h.controller->on_shards_changed("r");
    h.advance(1s);
    CHECK(h.reads == reads);
  }
  SUBCASE("not all of the conflict is known: it is reported") {
    h.apply_errors = {make_error(ErrorCode::kConflict, "Apply failed with 9 conflicts: conflicts with \"x\":\n- .y")};
    h.lead();
    CHECK(h.applies.size() == 1);
    CHECK(h.ready(0)["status"] == "False");
  }
  SUBCASE("another field is taken back, and meanwhile somebody changes the configuration") {
    h.apply_errors = {make_error(ErrorCode::kConflict, kManyConflicts),
                      make_error(ErrorCode::kConflict, "PATCH /x: 409 Conflict: the object has been modified"),
                      make_error(ErrorCode::kConflict, kCaConflict)};
    h.lead();
    REQUIRE(h.applies.size() == 4);
    CHECK(is_forced(h.applies[1]));
    CHECK_FALSE(is_forced(h.applies[2]));
    CHECK(applied_bundle(h.applies[3]).empty());
  }
}

TEST_CASE("a url without a caBundle trusts the roots of the API server's machine: ours is not kept (decision 6)") {
  WebhookSettings settings;
  settings.client_config.url = "https://sharder.example.com";
  SUBCASE("nobody injects another") {}
  SUBCASE("except until the injector that the annotations ask for has written its own") {
    settings.annotations["cert-manager.io/inject-ca-from"] = "sharding-system/webhook-server";
  }
  Harness h(settings);
  h.stand("b3VycwoK", kFieldManager, "7");
  h.publish({h.make_ring("r")});
  h.lead();
  REQUIRE(h.applies.size() == 1);
  CHECK(applied_bundle(h.applies[0]) == (settings.annotations.empty() ? "" : "b3VycwoK"));
}

TEST_CASE("a namespaceSelector that is wide again when the configuration is read again is not said to be left") {
  Harness h;
  h.stand("b3VycwoK", kFieldManager, "7");
  h.apply_errors = {make_error(ErrorCode::kConflict, sharder::testing::kEnforcerConflict)};
  h.publish({h.make_ring("r")});
  h.lead();
  h.advance(1s);
  h.stand("b3VycwoK", kFieldManager, "8");
  const json wide = h.live;
  h.live["webhooks"][0]["namespaceSelector"]["matchLabels"]["x"] = "y";
  h.apply_errors = {make_error(ErrorCode::kConflict, sharder::testing::kEnforcerConflict),
                    make_error(ErrorCode::kConflict, "PATCH /x: 409 Conflict: the object has been modified")};
  const auto applies = h.applies.size();
  h.controller->on_shards_changed("r");
  for (h.executor.run(); !h.api.pending.empty(); h.executor.run()) {
    h.serve();
    if (h.applies.size() == applies + 2) {
      h.live = wide;
    }
  }
  REQUIRE(h.applies.size() == applies + 3);
  CHECK(h.applies[applies + 1].body.contains("\"x\":\"y\""));
  CHECK_FALSE(h.applies[applies + 2].body.contains("\"x\":\"y\""));
  CHECK_FALSE(h.lines->contains("leaving a webhook's namespaceSelector"));
}

TEST_CASE("while the configuration cannot be read, nothing is applied that could take our caBundle away (decision 6)") {
  Harness h;
  h.stand("b3VycwoK", kFieldManager, "7");
  h.publish({h.make_ring("r")});
  h.all_fail = make_error(ErrorCode::kUnavailable, "GET /x: connection refused");
  h.lead();
  h.advance(5s);
  CHECK(h.applies.empty());
  h.all_fail.reset();
  h.advance(5s);
  REQUIRE_FALSE(h.applies.empty());
  CHECK(applied_bundle(h.applies.front()) == "b3VycwoK");
}

TEST_CASE("a caBundle of ours that is left to others stays until they have changed it (decision 8)") {
  WebhookSettings settings;
  settings.ca_bundle_is_ours = true;
  Harness h(settings);
  h.publish({h.make_ring("r")});
  h.lead();
  h.controller->set_ca_bundle("one");
  h.advance(1s);
  REQUIRE(h.applies.size() == 1);
  h.stand(applied_bundle(h.applies[0]), kFieldManager, "7");
  h.controller->set_ca_bundle("");
  h.advance(1s);
  REQUIRE(h.applies.size() == 2);
  CHECK(applied_bundle(h.applies[1]) == "b25lCgo=");  // with an empty line
}

TEST_CASE("a conflict of which not all is known is not forced where a caBundle is configured") {
  WebhookSettings settings;
  settings.client_config.ca_bundle = "Cg==";
  Harness h(settings);
  h.apply_errors = {make_error(ErrorCode::kConflict, "Apply failed with 9 conflicts: conflicts with \"x\":\n- .y")};
  h.publish({h.make_ring("r")});
  h.lead();
  REQUIRE(h.applies.size() == 1);
  CHECK(h.ready(0)["status"] == "False");
}

TEST_CASE("an apply that is not permitted is reported, and tried with growing pauses") {
  Harness h;
  h.publish({h.make_ring("r")});
  for (int i = 0; i < 100; ++i) {
    h.apply_errors.push_back(make_error(ErrorCode::kForbidden, "PATCH /x: 403 Forbidden"));
  }
  h.lead();
  h.advance(100ms);
  CHECK(h.ready(0)["message"] == "Apply webhook configuration: PATCH /x: 403 Forbidden");
  CHECK(h.told.size() == 1);
  h.advance(5min);
  CHECK(h.applies.size() > 5);
  CHECK(h.applies.size() < 20);
  CHECK(h.told.size() == 1);
  CHECK(h.lines->contains("403 Forbidden"));
}

TEST_CASE("in an outage the API server is tried every 2 s at the latest, without Events (design, 6.9)") {
  Harness h;
  h.publish({h.make_ring("r")});
  h.all_fail = make_error(ErrorCode::kUnavailable, "connection refused");
  h.lead();
  h.advance(1min);
  CHECK(h.statuses.empty());
  h.all_fail.reset();
  h.advance(2100ms);
  CHECK(h.ready(0)["status"] == "True");
  CHECK(h.told.empty());
  CHECK(h.lines->contains("ring reconciled"));
}

TEST_CASE("a status that was changed by somebody is read again (design, 6.5)") {
  Harness h;
  h.publish({h.make_ring("r")});
  h.status_errors = {make_error(ErrorCode::kConflict, "changed"), make_error(ErrorCode::kConflict, "changed")};
  h.lead();
  CHECK(h.statuses.size() == 1);
  CHECK(h.applies.size() == 1);
}

TEST_CASE("a status that cannot be written is tried again") {
  Harness h;
  h.publish({h.make_ring("r")});
  SUBCASE("conflicts without end") {
    for (int i = 0; i < 6; ++i) {
      h.status_errors.push_back(make_error(ErrorCode::kConflict, "changed"));
    }
  }
  SUBCASE("another error") {
    h.status_errors = {make_error(ErrorCode::kTimeout, "no answer")};
  }
  h.lead();
  CHECK(h.statuses.empty());
  h.advance(5s);
  CHECK(h.statuses.size() == 1);
  CHECK(h.lines->contains("update status"));
}

TEST_CASE("a ring that went or was made anew meanwhile gets no status") {
  Harness h;
  h.publish({h.make_ring("r")});
  SUBCASE("went") {
    h.rings.clear();
  }
  SUBCASE("was made anew") {
    h.rings["r"]["metadata"]["uid"] = "another";
  }
  h.lead();
  h.advance(10s);
  CHECK(h.statuses.empty());
  CHECK(h.told.empty());
}

TEST_CASE("a ring that is being deleted keeps nothing alive") {
  Harness h;
  ring::RingStatus deleting = h.make_ring("r");
  deleting.deleting = true;
  h.publish({deleting});
  h.lead();
  h.controller->on_shards_changed("r");
  h.advance(10min);
  CHECK(h.applies.empty());
  h.publish({});
  h.controller->on_ring_removed("r");
  h.advance(10min);
  CHECK(h.applies.empty());
}

TEST_CASE("when the leadership ends nothing is sent any more (design, 1)") {
  Harness h;
  h.publish({h.make_ring("r")});
  h.controller->on_leading(true);
  h.executor.run();
  while (!h.api.pending.empty() && h.api.pending.front().request.method != Method::kPatch) {
    h.serve();
    h.executor.run();
  }
  REQUIRE(h.api.pending.size() == 1);
  CHECK(h.api.pending.front().request.target.contains("mutating"));
  h.controller->on_leading(false);
  CHECK(h.is_at_work());
  h.settle();
  CHECK_FALSE(h.is_at_work());
  CHECK(h.statuses.empty());
  h.controller->on_shards_changed("r");
  h.advance(10min);
  CHECK(h.applies.size() == 1);
  // And it leads again.
  h.lead();
  CHECK(h.applies.size() == 2);
  CHECK(h.statuses.size() == 1);
}

TEST_CASE("a webhook configuration that somebody changed or deleted is repaired at once (protocol, 9)") {
  Harness h;
  h.publish({h.make_ring("r")});
  h.lead();
  REQUIRE(h.api.streams.size() == 1);
  CHECK(h.api.streams[0]->request.target.contains("mutatingwebhookconfigurations"));
  h.open_watch();
  const auto show = [&](const std::string& type, const json& object) {
    h.show(type, object);
    h.advance(1500ms);
  };
  show("ADDED", h.live);  // our own apply
  CHECK(h.applies.size() == 1);
  json changed = h.live;
  changed["webhooks"][0]["failurePolicy"] = "Fail";
  show("MODIFIED", changed);
  CHECK(h.applies.size() == 2);
  show("DELETED", h.live);
  h.advance(2s);
  CHECK(h.applies.size() == 3);
  for (const char* foreign : {"controllerring-unknown", "foreign"}) {
    changed["metadata"]["name"] = foreign;
    show("MODIFIED", changed);
  }
  CHECK(h.applies.size() == 3);
  h.controller->on_leading(false);
  h.executor.run();
  CHECK(h.api.streams[0]->cancelled);
}

TEST_CASE("a webhook configuration that went while nobody watched is repaired behind the new list (design, 6.9)") {
  Harness h;
  h.publish({h.make_ring("r")});
  h.lead();
  h.open_watch();
  h.advance(3s);
  REQUIRE(h.applies.size() == 1);
  h.live = nullptr;
  h.configuration_watch().on_close(make_error(ErrorCode::kGone, "410 Gone"));
  h.advance(3s);
  CHECK(h.applies.size() == 2);
  h.advance(1min);
  CHECK(h.applies.size() == 2);
}

TEST_CASE("what others put beside our fields is no reason to apply (protocol, 9)") {
  Harness h;
  h.publish({h.make_ring("r")});
  h.lead();
  h.open_watch();
  for (int i = 0; i < 100; ++i) {
    h.live["metadata"]["annotations"]["checked-by-somebody"] = std::to_string(i);
    h.live["webhooks"][0]["clientConfig"]["caBundle"] = "Y2EtYnVuZGxl" + std::to_string(1000 + i);
    h.show("MODIFIED", h.live);
    h.advance(2s);
  }
  CHECK(h.applies.size() == 1);
}

TEST_CASE("what was changed and changed back meanwhile is not applied") {
  Harness h;
  h.publish({h.make_ring("r")});
  h.lead();
  h.open_watch();
  json changed = h.live;
  changed["webhooks"][0]["failurePolicy"] = "Fail";
  h.show("MODIFIED", changed);
  h.advance(500ms);
  h.show("MODIFIED", h.live);
  h.advance(4min);
  CHECK(h.applies.size() == 1);
  h.advance(2min);
  CHECK(h.applies.size() == 2);  // the sync comes when it would have come
}

TEST_CASE("with a manager that insists, repairs come with pauses that grow to the sync period, and with one Event") {
  Harness h;
  h.insists = [](json& webhook) { webhook["failurePolicy"] = "Fail"; };
  h.publish({h.make_ring("r")});
  h.lead();
  h.open_watch();
  h.advance(60min);
  // One repair is at most three tries to apply: it conflicts, not because of the selector, and is forced.
  CHECK(h.applies.size() < 100);
  CHECK(h.applies.size() > 30);
  // At most 9 until the pause is the sync period, then one each 2.5 min to 5 min; once a minute would be 60.
  CHECK(std::ranges::count_if(h.applies, is_forced) < 40);
  REQUIRE(h.told.size() == 1);
  CHECK(h.told[0]["reason"] == "FieldConflict");
  CHECK(h.told[0]["message"].get<std::string>().contains("admissionsenforcer"));
  CHECK(h.statuses.size() == 1);

  // It ends, and that lasts: the next change is repaired at once, and told.
  h.insists = nullptr;
  h.advance(15min);
  CHECK(h.live["webhooks"][0]["failurePolicy"] == "Ignore");
  const std::size_t before = h.applies.size();
  h.insists = [](json& webhook) { webhook["failurePolicy"] = "Fail"; };
  h.interfere();
  h.advance(1500ms);
  CHECK(h.applies.size() > before);
  h.advance(1min);
  CHECK(h.told.size() == 2);
}

TEST_CASE("a manager that insists gets one Event also where webhook configurations may not be watched") {
  Harness h;
  h.publish({h.make_ring("r")});
  h.lead();
  h.insists = [](json& webhook) { webhook["failurePolicy"] = "Fail"; };
  h.interfere();
  h.advance(60min);
  CHECK(h.applies.size() < 50);
  CHECK(h.told.size() == 1);
}

TEST_CASE("a namespaceSelector that is narrowed is taken back once, and left when it comes back (decision 6)") {
  const json narrower = {{"key", "control-plane"}, {"operator", "NotIn"}, {"values", {"true"}}};
  Harness h;
  h.insists = [&](json& webhook) {
    json& expressions = webhook["namespaceSelector"]["matchExpressions"];
    if (std::ranges::find(expressions, narrower) == expressions.end()) {
      expressions.push_back(narrower);
    }
  };
  h.publish({h.make_ring("r")});
  h.lead();
  h.open_watch();
  h.advance(10min);
  CHECK(std::ranges::count_if(h.applies, is_forced) == 1);
  CHECK(h.told.size() == 1);
  CHECK(h.live["webhooks"][0]["namespaceSelector"]["matchExpressions"].size() == 2);
  CHECK(h.ready(0)["status"] == "True");
  h.advance(50min);
  CHECK(std::ranges::count_if(h.applies, is_forced) == 1);
  CHECK(h.applies.size() < 40);
  CHECK(h.told.size() == 1);
  CHECK(h.statuses.size() == 1);

  SUBCASE("other fields are taken back all the same") {
    h.live["webhooks"][0]["failurePolicy"] = "Fail";
    h.show("MODIFIED", h.live);
    h.advance(10s);
    CHECK(h.live["webhooks"][0]["failurePolicy"] == "Ignore");
    CHECK(h.live["webhooks"][0]["namespaceSelector"]["matchExpressions"].size() == 2);
  }
  SUBCASE("a selector that selects more is not left") {
    h.live["webhooks"][0]["namespaceSelector"] = {{"matchExpressions", {narrower}}};
    h.show("MODIFIED", h.live);
    h.advance(10s);
    CHECK(h.live["webhooks"][0]["namespaceSelector"]["matchExpressions"].size() == 2);
  }
  SUBCASE("the ring's own selector becomes wider: what it demanded before is gone") {
    ring::RingStatus wider = h.make_ring("r", 2);
    wider.spec.namespace_selector = ring::LabelSelector{};
    h.publish({wider});
    h.controller->on_ring_changed("r");
    h.advance(10s);
    CHECK(h.live["webhooks"][0]["namespaceSelector"] == json({{"matchExpressions", {narrower}}}));
  }
  SUBCASE("where it may not be read it is taken back at each sync, with one Event") {
    h.readable = false;
    h.advance(30min);
    CHECK(std::ranges::count_if(h.applies, is_forced) < 10);
    CHECK(h.told.size() == 1);
  }
}

TEST_CASE("a watch of webhook configurations that is not permitted is logged once and tolerated (protocol, 9)") {
  Harness h;
  h.publish({h.make_ring("r")});
  std::size_t refused = 0;
  const auto refuse = [&](std::chrono::seconds seconds) {
    for (; seconds > 0s; seconds -= 1s) {
      while (refused < h.api.streams.size()) {
        h.api.streams[refused++]->sink->on_close(make_error(ErrorCode::kForbidden, "403"));
      }
      h.advance(1s);
    }
  };
  for (int i = 0; i < 3; ++i) {
    h.lead();
    refuse(3s);
    // An API server that has just started refuses everything for a moment.
    CHECK((i > 0 || !h.lines->contains("not allowed")));
    refuse(10s);
    const auto tries = h.api.streams.size();
    refuse(60s);
    CHECK(h.api.streams.size() == tries);
    h.controller->on_leading(false);
    h.settle();
  }
  const auto said = h.lines->find("not allowed to watch webhook configurations");
  REQUIRE(said != std::string::npos);
  CHECK(h.lines->find("not allowed to watch webhook configurations", said + 1) == std::string::npos);
}

TEST_CASE(
    "a watch of webhook configurations that fails for long is logged once, tried seldom, and said to work again") {
  Harness h;
  h.publish({h.make_ring("r")});
  h.lead();
  std::size_t closed = 0;
  const auto fail_for = [&](std::chrono::seconds time) {
    for (; time > 0s; time -= 1s) {
      for (; closed < h.api.streams.size(); ++closed) {
        Error error = make_error(ErrorCode::kNotFound, "404: try " + std::to_string(closed));
        error.http_status = 404;
        h.api.streams[closed]->sink->on_close(error);
      }
      h.advance(1s);
    }
  };
  fail_for(5min);
  const std::size_t tries = closed;
  fail_for(5min);
  CHECK(closed - tries <= 5);
  const std::string line = "webhook configurations cannot be watched";
  CHECK(h.lines->contains(line));
  CHECK(h.lines->find(line) == h.lines->rfind(line));
  h.opened = closed;
  h.watched = true;
  h.advance(2min);
  CHECK(h.lines->contains("webhook configurations can be watched again"));
}

TEST_CASE("what keeps a ring from being rebalanced is in its condition and an Event, until it is over") {
  Harness h;
  h.publish({h.make_ring("r"), h.make_ring("other")});
  h.lead();
  REQUIRE(h.statuses.size() == 2);
  h.controller->on_trouble("r", "list secrets",
                           make_error(ErrorCode::kForbidden, "not allowed to list secrets: 403 Forbidden"));
  h.advance(1s);
  REQUIRE(h.statuses.size() == 3);
  CHECK(h.ready(2)["status"] == "False");
  CHECK(h.ready(2)["message"] == "Not allowed to list secrets: 403 Forbidden");
  REQUIRE(h.told.size() == 1);
  CHECK(h.told[0]["reason"] == "ReconciliationFailed");
  CHECK(h.told[0]["involvedObject"]["name"] == "r");
  // The webhook configuration is applied all the same, and the trouble stays through each reconciliation.
  CHECK(h.applies.size() >= 3);
  h.advance(5min);
  CHECK(h.statuses.size() == 3);
  h.controller->on_trouble("r", "list secrets", std::nullopt);
  h.advance(1s);
  REQUIRE(h.statuses.size() == 4);
  CHECK(h.ready(3)["status"] == "True");
}

TEST_CASE("all that a ring meets stands in its condition, its own failure and what others report") {
  Harness h;
  ring::RingStatus ring = h.make_ring("r");
  ring.spec.resources.push_back({.main = {"example.com", "foos"}, .controlled = {}});
  h.publish({ring});
  h.controller->on_trouble("r", "watch secrets", answered(500, "cannot watch secrets: 500"));
  h.controller->on_trouble("r", "list secrets", answered(500, "cannot list secrets: 500"));
  h.lead();
  h.advance(1s);
  const std::string missing = R"(Resource "foos.example.com" is not served by the API server)";
  const auto message = [&] { return h.rings["r"]["status"]["conditions"][0]["message"].get<std::string>(); };
  CHECK(message() == missing + "; cannot list secrets: 500; cannot watch secrets: 500");
  CHECK(h.told.size() == 1);
  h.controller->on_trouble("r", "list secrets", std::nullopt);
  h.advance(1s);
  CHECK(message() == missing + "; cannot watch secrets: 500");
  h.has_foos = true;
  h.advance(1min);
  CHECK(message() == "Cannot watch secrets: 500");
  h.controller->on_trouble("r", "watch secrets", std::nullopt);
  h.advance(1s);
  CHECK(h.rings["r"]["status"]["conditions"][0]["status"] == "True");
}

TEST_CASE("what others report keeps no change of the shards from being seen, and is no reason to try again") {
  Harness h;
  h.publish({h.make_ring("r")});
  h.controller->on_trouble("r", "list secrets", answered(500, "cannot list secrets: 500"));
  h.lead();
  h.advance(4min);
  CHECK(h.applies.size() == 1);
  h.controller->on_shards_changed("r");
  h.advance(1s);
  CHECK(h.applies.size() == 2);
}

TEST_CASE("an API server that takes no writes for long is reported, and tried with growing pauses") {
  Harness h;
  h.publish({h.make_ring("r")});
  for (int i = 0; i < 1000; ++i) {
    h.apply_errors.push_back(answered(500, "PATCH /x: 500 Internal Server Error: etcdserver: no space"));
    h.status_errors.push_back(answered(500, "PUT /status: 500 Internal Server Error: etcdserver: no space"));
  }
  h.lead();
  h.advance(8s);
  CHECK(h.told.empty());  // it may be over in a moment
  h.advance(6s);
  REQUIRE(h.told.size() == 1);
  const auto message = h.told[0]["message"].get<std::string>();
  CHECK(message.starts_with("Apply webhook configuration: PATCH /x: 500"));
  CHECK(message.contains("update status: PUT /status: 500"));
  const auto before = h.applies.size();
  h.advance(10min);
  CHECK(h.applies.size() <= before + 25);
  CHECK(h.told.size() == 1);
  h.apply_errors.clear();
  h.status_errors.clear();
  h.advance(1min);
  CHECK(h.ready(0)["status"] == "True");
  CHECK(h.lines->contains("ring reconciled"));
}

TEST_CASE("a ring that fails for another reason takes contested fields back as seldom as one that does not") {
  Harness h;
  ring::RingStatus ring = h.make_ring("r");
  ring.spec.resources.push_back({.main = {"example.com", "foos"}, .controlled = {}});
  h.publish({ring});
  SUBCASE("the configuration is watched") {
    h.insists = [](json& webhook) { webhook["failurePolicy"] = "Fail"; };
    h.lead();
    h.open_watch();
  }
  SUBCASE("it may not be watched") {
    h.lead();
    h.insists = [](json& webhook) { webhook["failurePolicy"] = "Fail"; };
    h.interfere();
  }
  h.advance(60min);
  // At most 9 until the pause is the sync period, then one each 2.5 min to 5 min; once a minute would be 60.
  CHECK(std::ranges::count_if(h.applies, is_forced) < 40);
  CHECK(std::ranges::count_if(h.applies, is_forced) > 10);
  // A new spec reaches the webhook at once.
  ring.spec.generation = 2;
  ring.spec.resources.push_back({.main = {"", "serviceaccounts"}, .controlled = {}});
  h.publish({ring});
  h.controller->on_ring_changed("r");
  h.advance(1s);
  CHECK(h.live["webhooks"][0]["rules"].size() == 4);
}

TEST_CASE("reconciliations are counted by their result, under the Go sharder's name of the controller") {
  Harness h;
  h.publish({h.make_ring("r")});
  h.apply_errors = {make_error(ErrorCode::kForbidden, "403")};
  h.lead();
  h.advance(1min);
  const std::string text = prometheus::TextSerializer().Serialize(h.registry->Collect());
  for (const char* line : {"reconcile_total{controller=\"controllerring\",result=\"error\"} 1\n",
                           "reconcile_total{controller=\"controllerring\",result=\"success\"} 1\n",
                           "reconcile_total{controller=\"controllerring\",result=\"requeue_after\"} 0\n",
                           "reconcile_errors_total{controller=\"controllerring\"} 1\n",
                           "reconcile_time_seconds_count{controller=\"controllerring\"} 2\n",
                           "reconcile_time_seconds_bucket{controller=\"controllerring\",le=\"0.15\"} "}) {
    CHECK_MESSAGE(text.contains(std::string("\ncontroller_runtime_") + line), line);
  }
}
