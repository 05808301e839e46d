#include "ring/names.h"

#include <doctest/doctest.h>

#include <string>

#include "ring/controller_ring.h"
#include "ring/object_key.h"

namespace ring = sharder::ring;

// protocol, 1
TEST_CASE("a ring's labels carry its name") {
  CHECK(ring::shard_label("example") == "shard.alpha.sharding.timebertt.dev/example");
  CHECK(ring::drain_label("example") == "drain.alpha.sharding.timebertt.dev/example");
}

TEST_CASE("a label value is what the API server takes as one") {
  for (const std::string& good :
       {std::string(), std::string("a"), std::string("A"), std::string("0"), std::string("shard-0"),
        std::string("a_b.c-D9"), std::string("1.0"), std::string(63, 'x')}) {
    CAPTURE(good);
    CHECK(ring::is_label_value(good));
  }
  for (const std::string& bad : {std::string(64, 'x'), std::string("-a"), std::string("a-"), std::string("."),
                                 std::string("_x"), std::string("a/b"), std::string("a b"), std::string("a\n"),
                                 std::string("\xc3\xa4"), std::string("a:b"), std::string("a\0b", 3)}) {
    CAPTURE(bad);
    CHECK_FALSE(ring::is_label_value(bad));
  }
}

TEST_CASE("a resource reads as the API server writes it") {
  CHECK(ring::to_string({.group = "apps", .resource = "deployments"}) == "deployments.apps");
  CHECK(ring::to_string({.group = "", .resource = "secrets"}) == "secrets");
}

// protocol, 4
TEST_CASE("a key keeps its empty parts") {
  std::string key = "what was there before";
  ring::object_key(key, "", "Secret", "default", "foo");
  CHECK(key == "/Secret/default/foo");
  ring::object_key(key, "apps", "Deployment", "default", "web");
  CHECK(key == "apps/Deployment/default/web");
  ring::object_key(key, "rbac.authorization.k8s.io", "ClusterRole", "", "admin");
  CHECK(key == "rbac.authorization.k8s.io/ClusterRole//admin");
  ring::object_key(key, "", "", "", "");
  CHECK(key == "///");
}

TEST_CASE("an apiVersion names its group") {
  CHECK(ring::group_of("apps/v1") == "apps");
  CHECK(ring::group_of("v1") == "");
  CHECK(ring::group_of("") == "");
  CHECK(ring::group_of("/") == "");
  CHECK(ring::group_of("/v1") == "");
  CHECK(ring::group_of("apps/") == "apps");
  CHECK(ring::group_of("a/b/c") == "");
}

// protocol, 9: a malformed controller reference
TEST_CASE("a controller reference is complete with apiVersion, kind and name") {
  CHECK(ring::is_complete_reference("apps/v1", "Deployment", "web"));
  CHECK(ring::is_complete_reference("v1", "Secret", "foo"));
  CHECK_FALSE(ring::is_complete_reference("", "Deployment", "web"));
  CHECK_FALSE(ring::is_complete_reference("apps/v1", "", "web"));
  CHECK_FALSE(ring::is_complete_reference("apps/v1", "Deployment", ""));
  CHECK_FALSE(ring::is_complete_reference("a/b/c", "Deployment", "web"));
}
