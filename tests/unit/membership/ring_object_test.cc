#include "membership/ring_object.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

using namespace sharder;
using namespace sharder::membership;
using nlohmann::json;

namespace {

json document() {
  return json::parse(R"({
    "metadata": {"name": "bench", "uid": "u-1", "generation": 3},
    "spec": {
      "namespaceSelector": {"matchLabels": {"a": "b"}, "matchExpressions": [
        {"key": "k", "operator": "NotIn", "values": ["x", "y"]}, {"key": "e", "operator": "Exists"},
        {"key": "d", "operator": "DoesNotExist"}, {"key": "i", "operator": "In", "values": ["z"]}]},
      "resources": [
        {"group": "apps", "resource": "deployments", "controlledResources": [{"group": "apps", "resource": "replicasets"}]},
        {"group": "", "resource": "secrets"}]},
    "status": {"observedGeneration": 2, "shards": 5, "availableShards": 4}})");
}

ring::RingObject decode(const json& object) {
  return decode_ring(object.dump()).value();
}

}  // namespace

TEST_CASE("a ControllerRing is read as it stands in the cluster (protocol, 2)") {
  const ring::RingObject object = decode(document());
  CHECK(object.spec.name == "bench");
  CHECK(object.spec.uid == "u-1");
  CHECK(object.spec.generation == 3);
  REQUIRE(object.spec.resources.size() == 2);
  CHECK(object.spec.resources[0].main == ring::GroupResource{"apps", "deployments"});
  CHECK(object.spec.resources[0].controlled == std::vector<ring::GroupResource>{{"apps", "replicasets"}});
  CHECK(object.spec.resources[1].main == ring::GroupResource{"", "secrets"});
  REQUIRE(object.spec.namespace_selector);
  CHECK(object.spec.namespace_selector->match_labels == std::map<std::string, std::string>{{"a", "b"}});
  REQUIRE(object.spec.namespace_selector->match_expressions.size() == 4);
  CHECK(object.spec.namespace_selector->match_expressions[0] ==
        ring::SelectorRequirement{"k", ring::SelectorOperator::kNotIn, {"x", "y"}});
  CHECK(object.spec.namespace_selector->match_expressions[2].op == ring::SelectorOperator::kDoesNotExist);
  CHECK(object.spec_error.empty());
  CHECK_FALSE(object.deleting);
  CHECK(object.observed_generation == 2);
  CHECK(object.status_shards == 5);
  CHECK(object.status_available_shards == 4);
}

TEST_CASE("the request for a pass is read from the ring's annotation (protocol, 12)") {
  json object = document();
  CHECK(decode(object).rebalance_requested_at.empty());
  object["metadata"]["annotations"] = {{"sharder.alpha.sharding.timebertt.dev/rebalance-requested-at", "noon"}};
  CHECK(decode(object).rebalance_requested_at == "noon");
  object["metadata"]["annotations"] = "nonsense";
  CHECK(decode(object).rebalance_requested_at.empty());
}

TEST_CASE("the grace period is a Go duration of at most 24 h, anything else is none and an error (protocol, 12)") {
  constexpr const char* kKey = "sharder.alpha.sharding.timebertt.dev/grace-period";
  json object = document();
  CHECK(decode(object).grace_period.count() == 0);
  for (const auto& [text, wanted] :
       {std::pair("2m", 120), {"1h30m", 5400}, {"0", 0}, {"0s", 0}, {"24h", 86400}, {"", 0}}) {
    CAPTURE(text);
    object["metadata"]["annotations"][kKey] = text;
    CHECK(decode(object).grace_period == std::chrono::seconds(wanted));
    CHECK(decode(object).grace_period_error.empty());
  }
  for (const char* text : {"2", "-1s", "two minutes", "24h1ns", "1d", " 2m"}) {
    CAPTURE(text);
    object["metadata"]["annotations"][kKey] = text;
    CHECK(decode(object).grace_period.count() == 0);
    CHECK(decode(object).grace_period_error.contains(std::string("grace-period: \"") + text + "\""));
    CHECK(decode(object).spec_error.empty());
  }
  object["metadata"]["annotations"][kKey] = std::string(100'000, '9');
  CHECK(decode(object).grace_period_error.size() < 200);
}

TEST_CASE("the conditions Ready and WebhookReachable are True, False, or not known") {
  json object = document();
  object["status"].erase("conditions");
  CHECK(decode(object).ready == std::nullopt);
  CHECK(decode(object).webhook_reachable == std::nullopt);
  for (const auto& [status, wanted] :
       {std::pair("True", std::optional(true)), {"False", std::optional(false)}, {"Unknown", std::optional<bool>()}}) {
    object["status"]["conditions"] = {{{"type", "Ready"}, {"status", "True"}},
                                      {{"type", "WebhookReachable"}, {"status", status}}};
    CHECK(decode(object).ready == true);
    CHECK(decode(object).webhook_reachable == wanted);
    object["status"]["conditions"] = {{{"type", "WebhookReachable"}, {"status", "True"}},
                                      {{"type", "Ready"}, {"status", status}}};
    CHECK(decode(object).ready == wanted);
    CHECK(decode(object).webhook_reachable == true);
  }
}

TEST_CASE("an absent namespaceSelector is not an empty one (protocol, 2)") {
  json object = document();
  object["spec"]["namespaceSelector"] = json::object();
  CHECK(decode(object).spec.namespace_selector == ring::LabelSelector{});
  object["spec"].erase("namespaceSelector");
  CHECK_FALSE(decode(object).spec.namespace_selector);
  object["spec"]["namespaceSelector"] = nullptr;
  CHECK_FALSE(decode(object).spec.namespace_selector);
}

TEST_CASE("a spec that cannot work says why") {
  struct Row {
    const char* pointer;
    json value;
    const char* error;
  };
  const json secrets = {{"group", ""}, {"resource", "secrets"}};
  for (const Row& row : {
           Row{"/metadata/name", std::string(64, 'x'), "at most 63 characters"},
           Row{"/spec/resources", json::array({secrets, secrets}), "secrets is listed twice"},
           Row{"/spec/resources", json::array({json{{"group", "apps"}}}), "a resource without a name"},
           Row{"/spec/resources/0/controlledResources", json::array({secrets, secrets}),
               "secrets is listed twice as controlled by deployments.apps"},
           Row{"/spec/resources/0/controlledResources", json::array({json::object()}), "without a name"},
           Row{"/spec/namespaceSelector/matchExpressions/0/operator", "Near", "\"Near\" is not a valid"},
       }) {
    CAPTURE(row.error);
    json object = document();
    object[json::json_pointer(row.pointer)] = row.value;
    const ring::RingObject decoded = decode(object);
    CHECK(decoded.spec_error.contains(row.error));
  }
}

TEST_CASE("the same resource may be main and controlled, and controlled by several (protocol, 4)") {
  json object = document();
  object["spec"]["resources"][1]["controlledResources"] =
      json::parse(R"([{"group":"apps","resource":"replicasets"},{"group":"apps","resource":"deployments"}])");
  CHECK(decode(object).spec_error.empty());
}

TEST_CASE("a namespaceSelector that makes no sense selects nothing") {
  json object = document();
  object["spec"]["namespaceSelector"] = json::parse(R"({"matchExpressions":[{"key":"a","operator":"Like"}]})");
  const ring::RingObject decoded = decode(object);
  REQUIRE(decoded.spec.namespace_selector);
  CHECK_FALSE(decoded.spec.namespace_selector->matches({}));
  CHECK_FALSE(decoded.spec.namespace_selector->matches({{"kubernetes.io/metadata.name", "default"}}));
}

TEST_CASE("a ring being deleted says so") {
  json object = document();
  object["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z";
  CHECK(decode(object).deleting);
}

TEST_CASE("nonsense in a ring is no crash, and only a ring without a name is an error") {
  for (const char* text : {R"({"metadata":{"name":"r"}})", R"({"metadata":{"name":"r"},"spec":null,"status":[]})",
                           R"({"metadata":{"name":"r"},"spec":{"resources":{}}})",
                           R"({"metadata":{"name":"r","generation":"x"},"spec":{"namespaceSelector":7}})"}) {
    CAPTURE(text);
    const auto object = decode_ring(text);
    REQUIRE(object);
    CHECK(object->spec.resources.empty());
    CHECK(object->spec_error.empty());
  }
  CHECK_FALSE(decode_ring(R"({"metadata":{"name":"r"},"spec":{"resources":[7]}})")->spec_error.empty());
  for (const char* text : {"", "[]", "{}", R"({"metadata":{"name":7}})"}) {
    CAPTURE(text);
    REQUIRE_FALSE(decode_ring(text));
    CHECK(decode_ring(text).error().code == ErrorCode::kInvalid);
  }
}
