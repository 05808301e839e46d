#include "controllerring/webhook_configuration.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "tests/unit/controllerring/fixture.h"

using namespace sharder;
using namespace sharder::controllerring;
using nlohmann::json;

namespace {

ring::ControllerRing example() {
  return {.name = "bench",
          .uid = "c823eb9c-4621-4a40-8691-682c6d447f97",
          .generation = 1,
          .resources = {{.main = {"", "secrets"}, .controlled = {{"", "configmaps"}}}},
          .namespace_selector = ring::LabelSelector{.match_labels = {{"kubernetes.io/metadata.name", "default"}},
                                                    .match_expressions = {}}};
}

json webhook_of(const ring::ControllerRing& ring, const WebhookSettings& settings,
                CaBundle ca_bundle = CaBundle::kAsConfigured) {
  return json::parse(webhook_configuration(ring, settings, ca_bundle)).at("webhooks").at(0);
}

// The names under which server-side apply owns what stands in a body. Keyed lists: ownerReferences by uid, webhooks by
// name; rules, selectors and admissionReviewVersions are atomic.
std::set<std::string> owned_fields(const json& body) {
  std::set<std::string> fields;
  const json& metadata = body.at("metadata");
  for (const char* map : {"labels", "annotations"}) {
    if (metadata.contains(map)) {
      for (const auto& [key, value] : metadata[map].items()) {
        fields.insert(std::string("metadata/") + map + "/" + key);
      }
    }
  }
  for (const json& owner : metadata.at("ownerReferences")) {
    fields.insert("metadata/ownerReferences/" + owner.at("uid").get<std::string>());
  }
  for (const json& webhook : body.at("webhooks")) {
    for (const auto& [key, value] : webhook.items()) {
      if (key != "clientConfig") {
        fields.insert("webhooks/" + key);
      }
    }
    for (const auto& [key, value] : webhook.at("clientConfig").items()) {
      fields.insert("webhooks/clientConfig/" + key);
    }
  }
  return fields;
}

// The same from managedFields' fieldsV1.
std::set<std::string> owned_fields_v1(const json& fields_v1) {
  std::set<std::string> fields;
  const json& metadata = fields_v1.at("f:metadata");
  for (const auto& [key, value] : metadata.at("f:labels").items()) {
    fields.insert("metadata/labels/" + key.substr(2));
  }
  for (const auto& [key, value] : metadata.at("f:ownerReferences").items()) {
    fields.insert("metadata/ownerReferences/" + json::parse(key.substr(2)).at("uid").get<std::string>());
  }
  CHECK(metadata.size() == 2);
  for (const auto& [webhook, webhook_fields] : fields_v1.at("f:webhooks").items()) {
    for (const auto& [key, value] : webhook_fields.items()) {
      if (key == "f:clientConfig") {
        for (const auto& [inner, _] : value.items()) {
          fields.insert("webhooks/clientConfig/" + inner.substr(2));
        }
      } else if (key != ".") {
        fields.insert("webhooks/" + key.substr(2));
      }
    }
  }
  return fields;
}

}  // namespace

TEST_CASE("a ring's webhook configuration, field by field (protocol, 5)") {
  const json body = json::parse(webhook_configuration(example(), WebhookSettings{}));
  CHECK(body == json::parse(R"({
    "apiVersion": "admissionregistration.k8s.io/v1",
    "kind": "MutatingWebhookConfiguration",
    "metadata": {
      "name": "controllerring-bench",
      "labels": {"alpha.sharding.timebertt.dev/controllerring": "bench",
                 "app.kubernetes.io/name": "controller-sharding"},
      "ownerReferences": [{"apiVersion": "sharding.timebertt.dev/v1alpha1", "kind": "ControllerRing", "name": "bench",
        "uid": "c823eb9c-4621-4a40-8691-682c6d447f97", "controller": true, "blockOwnerDeletion": true}]},
    "webhooks": [{
      "name": "sharder.sharding.timebertt.dev",
      "clientConfig": {"service": {"namespace": "sharding-system", "name": "sharder",
                                   "path": "/webhooks/sharder/controllerring/bench"}},
      "rules": [
        {"apiGroups": [""], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"], "resources": ["secrets"], "scope": "*"},
        {"apiGroups": [""], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"], "scope": "*"}],
      "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}},
      "objectSelector": {"matchExpressions": [
        {"key": "shard.alpha.sharding.timebertt.dev/bench", "operator": "DoesNotExist"}]},
      "failurePolicy": "Ignore", "timeoutSeconds": 5, "sideEffects": "None", "admissionReviewVersions": ["v1"]}]})"));
}

TEST_CASE("it is what the Go sharder applied, value by value and owned field by owned field") {
  json fixture = testing::read_fixture("webhook-configuration.yaml");
  WebhookSettings settings;
  settings.client_config.url = "https://127.0.0.1:9443";
  settings.client_config.ca_bundle = fixture["webhooks"][0]["clientConfig"]["caBundle"].get<std::string>();
  const json body = json::parse(webhook_configuration(example(), settings));

  // Nobody else is in the fixture, so an apply over it can have no conflict: it owns the same fields with the same
  // values.
  REQUIRE(fixture["metadata"]["managedFields"].size() == 1);
  const json& managed = fixture["metadata"]["managedFields"][0];
  CHECK(managed["manager"] == kFieldManager);
  CHECK(managed["operation"] == "Apply");
  CHECK(owned_fields(body) == owned_fields_v1(managed["fieldsV1"]));

  for (const char* server_side : {"managedFields", "creationTimestamp", "generation", "resourceVersion", "uid"}) {
    fixture["metadata"].erase(server_side);
  }
  for (const char* defaulted : {"matchPolicy", "reinvocationPolicy"}) {
    fixture["webhooks"][0].erase(defaulted);
  }
  CHECK(body == fixture);
}

TEST_CASE("rules stand in the order of the spec (protocol, 5)") {
  ring::ControllerRing ring = example();
  ring.resources = {{.main = {"apps", "deployments"}, .controlled = {{"apps", "replicasets"}, {"", "pods"}}},
                    {.main = {"", "secrets"}, .controlled = {}},
                    {.main = {"batch", "cronjobs"}, .controlled = {{"batch", "jobs"}}}};
  std::vector<std::string> order;
  const json webhook = webhook_of(ring, {});
  for (const json& rule : webhook["rules"]) {
    order.push_back(rule["apiGroups"][0].get<std::string>() + "/" + rule["resources"][0].get<std::string>());
  }
  CHECK(order == std::vector<std::string>{"apps/deployments", "apps/replicasets", "/pods", "/secrets", "batch/cronjobs",
                                          "batch/jobs"});
  ring.resources.clear();
  CHECK_FALSE(webhook_of(ring, {}).contains("rules"));
}

TEST_CASE("an absent namespaceSelector is the configured default, an empty one selects all namespaces (protocol, 2)") {
  ring::ControllerRing ring = example();
  ring.namespace_selector.reset();
  CHECK(webhook_of(ring, {})["namespaceSelector"] == json::parse(R"({"matchExpressions": [
    {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system", "sharding-system"]}]})"));
  ring.namespace_selector = ring::LabelSelector{};
  CHECK(webhook_of(ring, {})["namespaceSelector"] == json::object());
  ring.namespace_selector->match_expressions = {{"a", ring::SelectorOperator::kIn, {"x"}},
                                                {"b", ring::SelectorOperator::kExists, {}},
                                                {"c", ring::SelectorOperator::kDoesNotExist, {}}};
  CHECK(webhook_of(ring, {})["namespaceSelector"] == json::parse(R"({"matchExpressions": [
    {"key": "a", "operator": "In", "values": ["x"]}, {"key": "b", "operator": "Exists"},
    {"key": "c", "operator": "DoesNotExist"}]})"));
}

TEST_CASE("the client config is the url or the service, with the ring's path (protocol, 5)") {
  struct Row {
    WebhookClientConfig config;
    const char* json_text;
  };
  const Row rows[] = {
      {{.url = "https://host:9443/"}, R"({"url": "https://host:9443/webhooks/sharder/controllerring/bench"})"},
      {{.url = "https://host/prefix//"}, R"({"url": "https://host/prefix/webhooks/sharder/controllerring/bench"})"},
      {{.url = "https://host", .ca_bundle = "Cg=="},
       R"({"url": "https://host/webhooks/sharder/controllerring/bench", "caBundle": "Cg=="})"},
      {{.service = {.service_namespace = "a", .name = "b", .port = 8443, .path = "/p/"}, .ca_bundle = "Cg=="},
       R"({"service": {"namespace": "a", "name": "b", "port": 8443,
           "path": "/p/webhooks/sharder/controllerring/bench"}, "caBundle": "Cg=="})"},
  };
  for (const Row& row : rows) {
    WebhookSettings settings;
    settings.client_config = row.config;
    CHECK(webhook_of(example(), settings)["clientConfig"] == json::parse(row.json_text));
    CHECK_FALSE(webhook_of(example(), settings, CaBundle::kLeaveOut)["clientConfig"].contains("caBundle"));
  }
}

TEST_CASE("the configured annotations are applied (protocol, 5)") {
  WebhookSettings settings;
  settings.annotations = {{"cert-manager.io/inject-ca-from", "sharding-system/webhook-server"}};
  CHECK(json::parse(webhook_configuration(example(), settings))["metadata"]["annotations"] ==
        json({{"cert-manager.io/inject-ca-from", "sharding-system/webhook-server"}}));
}

TEST_CASE("a configuration is in place when every field of ours is, whatever stands beside them (protocol, 9)") {
  WebhookSettings settings;
  settings.annotations = {{"a", "1"}};
  settings.client_config.ca_bundle = "Cg==";
  const std::string wanted = webhook_configuration(example(), settings);
  json live = json::parse(wanted);
  live["metadata"]["annotations"]["b"] = "2";
  live["metadata"]["labels"]["b"] = "2";
  live["metadata"]["ownerReferences"].insert(live["metadata"]["ownerReferences"].begin(), json{{"uid", "other"}});
  live["webhooks"][0]["matchPolicy"] = "Equivalent";
  live["webhooks"][0]["clientConfig"]["service"]["port"] = 443;
  live["webhooks"].insert(live["webhooks"].begin(), json{{"name", "another"}});
  CHECK(is_in_place(wanted, live.dump()));
  const std::pair<const char*, json> changes[] = {
      {"/metadata/annotations/a", "2"},
      {"/metadata/labels/app.kubernetes.io~1name", "x"},
      {"/metadata/ownerReferences/1/controller", false},
      {"/metadata/ownerReferences/1/uid", "x"},
      {"/webhooks/1/name", "x"},
      {"/webhooks/1/failurePolicy", "Fail"},
      {"/webhooks/1/clientConfig/caBundle", "eA=="},
      {"/webhooks/1/clientConfig/service/path", "/"},
      {"/webhooks/1/rules/1/apiGroups", {"x"}},
      {"/webhooks/1/rules", json::array()},
      {"/webhooks/1/objectSelector", json::object()},
      {"/webhooks/1/objectSelector/matchLabels", {{"x", "y"}}},
      {"/webhooks/1/namespaceSelector/matchLabels/x", "y"},
      {"/webhooks", "nonsense"},
      {"/metadata", 1},
  };
  for (const auto& [pointer, value] : changes) {
    CAPTURE(pointer);
    json changed = live;
    changed[json::json_pointer(pointer)] = value;
    CHECK_FALSE(is_in_place(wanted, changed.dump()));
  }
  CHECK_FALSE(is_in_place(wanted, "no JSON"));
  CHECK_FALSE(is_in_place(wanted, "[]"));
}

TEST_CASE("a selector that demands more than ours is narrower, any other is not (decision 6)") {
  ring::ControllerRing ring = example();
  ring.namespace_selector = ring::LabelSelector{
      .match_labels = {{"a", "1"}}, .match_expressions = {{"b", ring::SelectorOperator::kNotIn, {"x", "y"}}}};
  const std::string wanted = webhook_configuration(ring, {});
  const auto with = [&](const char* selector) {
    json live = json::parse(wanted);
    live["webhooks"][0]["namespaceSelector"] = json::parse(selector);
    return live.dump();
  };
  const char* const narrower = R"({"matchLabels": {"a": "1", "c": "1"}, "matchExpressions": [
      {"key": "control-plane", "operator": "NotIn", "values": ["true"]},
      {"key": "b", "operator": "NotIn", "values": ["x", "y"]}]})";
  const auto narrowed = with_narrowed_selector(wanted, with(narrower));
  REQUIRE(narrowed);
  CHECK(json::parse(*narrowed) == json::parse(with(narrower)));
  CHECK(is_in_place(*narrowed, with(narrower)));
  CHECK_FALSE(is_in_place(wanted, with(narrower)));
  for (
      const char* other : {
          R"({"matchLabels": {"a": "1"}, "matchExpressions": [{"key": "b", "operator": "NotIn", "values": ["x", "y"]}]})",
          R"({"matchLabels": {"a": "1"}})",
          R"({"matchLabels": {"a": "2"}, "matchExpressions": [{"key": "b", "operator": "NotIn", "values": ["x", "y"]}]})",
          R"({"matchLabels": {"a": "1"}, "matchExpressions": [{"key": "b", "operator": "NotIn", "values": ["x"]}]})",
          R"({"matchExpressions": [{"key": "b", "operator": "NotIn", "values": ["x", "y"]}]})",
          R"({})",
          R"(7)",
      }) {
    CAPTURE(other);
    CHECK_FALSE(with_narrowed_selector(wanted, with(other)));
  }
  CHECK_FALSE(with_narrowed_selector(wanted, "no JSON"));
  CHECK_FALSE(with_narrowed_selector(wanted, "{}"));
}

TEST_CASE("the caBundle in the cluster is kept when its last value is of our applies, with the version (decision 6)") {
  const std::string wanted = webhook_configuration(example(), {});
  json live = json::parse(wanted);
  live["metadata"]["resourceVersion"] = "7";
  live["webhooks"][0]["clientConfig"]["caBundle"] = "b25l";
  const auto entry = [&](const char* manager, const char* operation, const char* webhook, const char* field) {
    json fields;
    fields["f:webhooks"]["k:" + json{{"name", webhook}}.dump()]["f:clientConfig"][field] = json::object();
    return json{{"manager", manager}, {"operation", operation}, {"fieldsV1", fields}};
  };
  constexpr const char* kWebhook = "sharder.sharding.timebertt.dev";
  const json ours = entry("controllerring-controller", "Apply", kWebhook, "f:caBundle");
  const auto kept = [&](const json& managers) {
    live["metadata"]["managedFields"] = managers;
    return with_own_ca_bundle(wanted, live.dump());
  };
  json expected = json::parse(wanted);
  expected["metadata"]["resourceVersion"] = "7";
  expected["webhooks"][0]["clientConfig"]["caBundle"] = "b25lCgo=";  // "one" and an empty line
  CHECK(json::parse(kept(json::array({ours})).value_or("null")) == expected);
  CHECK(json::parse(kept(json::array({entry("x", "Update", kWebhook, "f:caBundle"), ours})).value_or("null")) ==
        expected);
  live["webhooks"][0]["clientConfig"]["caBundle"] = "b25lCgo=";
  CHECK(json::parse(kept(json::array({ours})).value_or("null")) == expected);
  CHECK_FALSE(kept(json::array()));
  CHECK_FALSE(kept(json::array({entry("cainjector", "Apply", kWebhook, "f:caBundle")})));
  CHECK_FALSE(kept(json::array({entry("controllerring-controller", "Update", kWebhook, "f:caBundle")})));
  CHECK_FALSE(kept(json::array({entry("controllerring-controller", "Apply", "other", "f:caBundle")})));
  CHECK_FALSE(kept(json::array({entry("controllerring-controller", "Apply", kWebhook, "f:service")})));
  live["webhooks"][0]["clientConfig"].erase("caBundle");
  CHECK_FALSE(kept(json::array({ours})));
  CHECK_FALSE(with_own_ca_bundle(wanted, "nonsense"));
}
