#include "shard/watched_object.h"

#include <doctest/doctest.h>

#include <optional>
#include <string>
#include <utility>

using nlohmann::json;
using sharder::kube::ObjectMeta;
using sharder::kube::OwnerReference;
using sharder::kube::Resource;
using sharder::shard::ObjectName;
using namespace sharder::shard;  // NOLINT(google-build-using-namespace): the functions under test

namespace {

const Resource kDeployments{.group = "apps", .version = "v1", .plural = "deployments", .kind = "Deployment"};

OwnerReference owner_of(const std::string& api_version, const std::string& kind) {
  return {.api_version = api_version, .kind = kind, .name = "d"};
}

ObjectMeta with_owner(std::optional<OwnerReference> controller) {
  ObjectMeta object;
  object.name = "x";
  object.object_namespace = "ns";
  object.controller = std::move(controller);
  return object;
}

}  // namespace

TEST_CASE("a reconcile function sees an object with its kind, and without managedFields") {
  const auto object = read_object(
      R"({"kind":"PartialObjectMetadata","metadata":{"name":"a","annotations":{"k":"v"},"managedFields":[{"manager":"m"}]}})",
      kDeployments);
  REQUIRE(object);
  CHECK(*object == json{{"apiVersion", "apps/v1"},
                        {"kind", "Deployment"},
                        {"metadata", {{"name", "a"}, {"annotations", {{"k", "v"}}}}}});
}

TEST_CASE("what is no object with a name is an error, and is not quoted") {
  for (const char* text : {"", "{", "[]", "7", "null", "{}", R"({"metadata":[]})", R"({"metadata":{"name":""}})",
                           R"({"metadata":{"name":7}})", R"({"secret":)"}) {
    CAPTURE(text);
    const auto object = read_object(text, kDeployments);
    REQUIRE_FALSE(object);
    CHECK(object.error().message.find("secret") == std::string::npos);
  }
}

TEST_CASE("a cache gets an object's metadata and its text") {
  WatchedObjectReader reader;
  const std::string text = R"({"metadata":{"name":"a","resourceVersion":"7","labels":{"a/b":"c"}},"data":{"k":")" +
                           std::string(1000, 'v') + R"("}})";
  const auto object = reader.read(R"({"kind":"Secret",)" + text.substr(1));
  REQUIRE(object);
  CHECK(object->meta.resource_version == "7");
  CHECK(object->meta.label("a/b") == "c");
  CHECK(object->text == text);
  CHECK(name_of(object->meta) == ObjectName{.object_namespace = "", .name = "a"});
}

TEST_CASE("a watch that shows what is no object with a name gets an error") {
  WatchedObjectReader reader;
  for (const char* text :
       {"", "{", "[]", "{}", R"({"metadata":{"name":""}})", R"({"metadata":{"name":"a"},"x":tru})"}) {
    CAPTURE(text);
    CHECK_FALSE(reader.read(text));
  }
}

TEST_CASE("versions and names are read from objects of any shape") {
  const json object{{"metadata", {{"name", "a"}, {"resourceVersion", "7"}}}};
  CHECK(name_of(object) == ObjectName{.object_namespace = "", .name = "a"});
  CHECK(resource_version_of(object) == "7");
  CHECK(resource_version_of(json::array()).empty());
}

TEST_CASE("the controller is the owner with controller=true, when it is of the main kind") {
  CHECK(controller_of(with_owner(owner_of("apps/v1", "Deployment")), kDeployments) ==
        ObjectName{.object_namespace = "ns", .name = "d"});
  CHECK(controller_of(with_owner(owner_of("apps/v1beta1", "Deployment")), kDeployments));
  CHECK_FALSE(controller_of(with_owner(owner_of("v1", "Deployment")), kDeployments));
  CHECK_FALSE(controller_of(with_owner(owner_of("apps/v1", "ReplicaSet")), kDeployments));
  CHECK_FALSE(controller_of(with_owner(std::nullopt), kDeployments));
}

TEST_CASE("a cluster-scoped controller has no namespace") {
  const Resource nodes{.group = "", .version = "v1", .plural = "nodes", .kind = "Node", .namespaced = false};
  CHECK(controller_of(with_owner(owner_of("v1", "Node")), nodes) == ObjectName{.object_namespace = "", .name = "d"});
}
