#include "shard/watched_object.h"

#include <doctest/doctest.h>

#include <string>

using nlohmann::json;
using sharder::kube::Resource;
using sharder::shard::ObjectName;
using namespace sharder::shard;  // NOLINT(google-build-using-namespace): the functions under test

namespace {

const Resource kDeployments{.group = "apps", .version = "v1", .plural = "deployments", .kind = "Deployment"};

json with_owner(const json& reference) {
  return {{"metadata", {{"name", "x"}, {"namespace", "ns"}, {"ownerReferences", {reference}}}}};
}

}  // namespace

TEST_CASE("an object is kept with its kind, and without managedFields") {
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

TEST_CASE("labels, versions and names are read from objects of any shape") {
  const json object{{"metadata", {{"name", "a"}, {"resourceVersion", "7"}, {"labels", {{"a/b", "c"}, {"n", 1}}}}}};
  CHECK(name_of(object) == ObjectName{.object_namespace = "", .name = "a"});
  CHECK(resource_version_of(object) == "7");
  CHECK(label_of(object, "a/b") == "c");
  CHECK_FALSE(label_of(object, "n"));
  CHECK_FALSE(label_of(object, "x"));
  CHECK_FALSE(label_of(json::array(), "x"));
}

TEST_CASE("the controller is the owner with controller=true, when it is of the main kind") {
  const json right{{"apiVersion", "apps/v1"}, {"kind", "Deployment"}, {"name", "d"}, {"controller", true}};
  CHECK(controller_of(with_owner(right), kDeployments) == ObjectName{.object_namespace = "ns", .name = "d"});
  json other_version = right;
  other_version["apiVersion"] = "apps/v1beta1";
  CHECK(controller_of(with_owner(other_version), kDeployments));
  json no_controller = right;
  no_controller["controller"] = false;
  CHECK_FALSE(controller_of(with_owner(no_controller), kDeployments));
  json other_group = right;
  other_group["apiVersion"] = "v1";
  CHECK_FALSE(controller_of(with_owner(other_group), kDeployments));
  json other_kind = right;
  other_kind["kind"] = "ReplicaSet";
  CHECK_FALSE(controller_of(with_owner(other_kind), kDeployments));
  CHECK_FALSE(controller_of(json{{"metadata", {{"name", "x"}}}}, kDeployments));
}

TEST_CASE("a cluster-scoped controller has no namespace") {
  const Resource nodes{.group = "", .version = "v1", .plural = "nodes", .kind = "Node", .namespaced = false};
  const json owner{{"apiVersion", "v1"}, {"kind", "Node"}, {"name", "n"}, {"controller", true}};
  CHECK(controller_of(with_owner(owner), nodes) == ObjectName{.object_namespace = "", .name = "n"});
}

TEST_CASE("the text of an object takes no more memory than it needs") {
  const json object{{"metadata", {{"name", "a"}, {"annotations", {{"k", std::string(1100, 'v')}}}}}};
  const auto text = text_of(object);
  CHECK(json::parse(*text) == object);
  CHECK(text->capacity() == text->size());
}
