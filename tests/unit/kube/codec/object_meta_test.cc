#include "kube/codec/object_meta.h"

#include <doctest/doctest.h>

using namespace sharder;
using namespace sharder::kube;

TEST_CASE("the metadata of an object is read, whatever else is in it") {
  ObjectMetaDecoder decoder;
  const auto meta =
      decoder.decode(R"({"kind":"X","metadata":{"name":"n","namespace":"ns","uid":"u","resourceVersion":"7",
      "labels":{"a":"1","b":"","a\u0031":"2"},"managedFields":[{"time":"x"}],
      "ownerReferences":[{"apiVersion":"v1","kind":"Node","name":"other"},
                         {"apiVersion":"apps/v1","kind":"Deployment","name":"d","controller":true},
                         {"apiVersion":"v2","kind":"Late","name":"l","controller":true}]},"spec":{"name":"not me"}})");
  REQUIRE(meta);
  CHECK(meta->name == "n");
  CHECK(meta->object_namespace == "ns");
  CHECK(meta->uid == "u");
  CHECK(meta->resource_version == "7");
  CHECK(meta->label("a") == "1");
  CHECK(meta->label("b") == "");
  CHECK(meta->label("a1") == "2");
  CHECK_FALSE(meta->label("c"));
  CHECK(meta->controller == OwnerReference{.api_version = "apps/v1", .kind = "Deployment", .name = "d"});
}

TEST_CASE("absent and null fields are empty, of a key that stands twice the last counts") {
  ObjectMetaDecoder decoder;
  const auto meta =
      decoder.decode(R"({"metadata":{"name":"n","namespace":null,"labels":null,"ownerReferences":null}})");
  REQUIRE(meta);
  CHECK(meta->object_namespace.empty());
  CHECK(meta->labels.empty());
  CHECK_FALSE(meta->controller);
  const auto twice = decoder.decode(R"({"metadata":{"name":"a","labels":{"x":"1","x":"2"},"name":"b"}})");
  REQUIRE(twice);
  CHECK(twice->name == "b");
  CHECK(twice->label("x") == "2");
}

TEST_CASE("what is not an object is an error") {
  ObjectMetaDecoder decoder;
  for (const char* text : {"", "[]", "{}", R"({"metadata":{}})", R"({"metadata":{"name":1}})",
                           R"({"metadata":{"name":"n","labels":[]}})", R"({"metadata":{"name":"n"}, )"}) {
    CAPTURE(text);
    CHECK(decoder.decode(text).error().code == ErrorCode::kInvalid);
  }
}
