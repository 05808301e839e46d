#include "tests/unit/webhook/support.h"

#include <doctest/doctest.h>

#include <memory>

namespace sharder::webhook::testing {
namespace {

// Everything of a review but resource and objects, as kube-apiserver writes it.
nlohmann::json review(std::string_view operation, std::string_view name, std::string_view object_namespace) {
  auto json = nlohmann::json::parse(R"({
    "kind": "AdmissionReview",
    "apiVersion": "admission.k8s.io/v1",
    "request": {
      "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
      "requestKind": {"group": "", "version": "v1", "kind": "Other"},
      "requestResource": {"group": "elsewhere", "version": "v1beta1", "resource": "others"},
      "userInfo": {
        "username": "system:serviceaccount:default:deployer",
        "uid": "014fbff9-a098-4c4c-8ba2-3d16f0d9f4d3",
        "groups": ["system:serviceaccounts", "system:authenticated"],
        "extra": {"authentication.kubernetes.io/credential-id": ["JTI=0f5c2a3d"]}
      },
      "oldObject": null,
      "dryRun": false,
      "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": "kubectl-create"}
    }
  })");
  json["request"]["operation"] = operation;
  json["request"]["name"] = name;
  if (!object_namespace.empty()) {
    json["request"]["namespace"] = object_namespace;
  }
  return json;
}

ring::RingEntry example(std::vector<std::string> shards) {
  return {
      ring::ControllerRing{.name = "example",
                           .uid = "6f1d5a3a-0000-4000-8000-000000000001",
                           .generation = 1,
                           .resources = {{.main = {"apps", "deployments"}, .controlled = {{"apps", "replicasets"}}},
                                         {.main = {"", "secrets"}, .controlled = {{"", "configmaps"}, {"", "secrets"}}},
                                         {.main = {"rbac.authorization.k8s.io", "clusterroles"}, .controlled = {}},
                                         {.main = {"", "namespaces"}, .controlled = {}}},
                           .namespace_selector = {}},
      std::make_shared<const ring::Ring>(std::move(shards))};
}

}  // namespace

nlohmann::json deployment_review() {
  auto json = review("CREATE", "web", "default");
  auto& request = json["request"];
  request["kind"] = {{"group", "apps"}, {"version", "v1"}, {"kind", "Deployment"}};
  request["resource"] = {{"group", "apps"}, {"version", "v1"}, {"resource", "deployments"}};
  request["object"] = nlohmann::json::parse(R"({
    "kind": "Deployment",
    "apiVersion": "apps/v1",
    "metadata": {
      "name": "web",
      "namespace": "default",
      "creationTimestamp": null,
      "labels": {"app": "web", "weird \"label\"\n": "\u00e4\ud83d\ude00"},
      "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{\"kind\":\"Deployment\"}\n"},
      "managedFields": [{"manager": "kubectl-create", "operation": "Update", "apiVersion": "apps/v1",
                         "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1",
                         "fieldsV1": {"f:metadata": {"f:labels": {".": {}, "f:app": {}}}}}]
    },
    "spec": {
      "replicas": 3,
      "selector": {"matchLabels": {"app": "web"}},
      "template": {
        "metadata": {"name": "not-the-name", "creationTimestamp": null, "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "nginx", "image": "nginx:1.27", "resources": {}}],
                 "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst"}
      },
      "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}}
    },
    "status": {}
  })");
  return json;
}

nlohmann::json replica_set_review() {
  auto json = review("CREATE", "web-5d9c7f", "default");
  auto& request = json["request"];
  request["kind"] = {{"group", "apps"}, {"version", "v1"}, {"kind", "ReplicaSet"}};
  request["resource"] = {{"group", "apps"}, {"version", "v1"}, {"resource", "replicasets"}};
  request["object"] = nlohmann::json::parse(R"({
    "kind": "ReplicaSet",
    "apiVersion": "apps/v1",
    "metadata": {
      "name": "web-5d9c7f",
      "namespace": "default",
      "labels": {"app": "web"},
      "ownerReferences": [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": "settings", "uid": "1"},
        {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "2", "controller": true,
         "blockOwnerDeletion": true}
      ]
    },
    "spec": {"replicas": 1}
  })");
  return json;
}

nlohmann::json secret_update_review() {
  auto json = review("UPDATE", "foo", "default");
  auto& request = json["request"];
  request["kind"] = {{"group", ""}, {"version", "v1"}, {"kind", "Secret"}};
  request["resource"] = {{"group", ""}, {"version", "v1"}, {"resource", "secrets"}};
  request["object"] = nlohmann::json::parse(R"({
    "kind": "Secret",
    "apiVersion": "v1",
    "metadata": {"name": "foo", "namespace": "default", "uid": "3", "resourceVersion": "42"},
    "data": {"password": "c2VjcmV0"},
    "type": "Opaque"
  })");
  request["oldObject"] = request["object"];
  request["oldObject"]["metadata"]["labels"] = {{"shard.alpha.sharding.timebertt.dev/example", "shard-1"}};
  return json;
}

ring::RingSet ring_set(std::vector<std::string> shards, std::uint64_t version) {
  ring::RingSet rings;
  rings.version = version;
  rings.rings.emplace("example", std::make_shared<const ring::RingEntry>(example(std::move(shards))));
  rings.rings.emplace("other", std::make_shared<const ring::RingEntry>(
                                   ring::ControllerRing{.name = "other",
                                                        .uid = "6f1d5a3a-0000-4000-8000-000000000002",
                                                        .generation = 1,
                                                        .resources = {{.main = {"batch", "jobs"}, .controlled = {}}},
                                                        .namespace_selector = {}},
                                   std::make_shared<const ring::Ring>(std::vector<std::string>{"worker-0"})));
  return rings;
}

}  // namespace sharder::webhook::testing
