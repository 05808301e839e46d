#include "tests/apiserver/apply.h"

#include <doctest/doctest.h>

#include "tests/apiserver/field_set.h"
#include "tests/apiserver/patch.h"

namespace sharder::apiserver {
namespace {

using nlohmann::json;

const Resource kConfigurations{.group = "admissionregistration.k8s.io",
                               .version = "v1",
                               .plural = "mutatingwebhookconfigurations",
                               .kind = "MutatingWebhookConfiguration",
                               .namespaced = false};
const FieldManager kMe{.name = "me", .api_version = "admissionregistration.k8s.io/v1", .now = "t1"};
const FieldManager kOther{.name = "other", .api_version = "admissionregistration.k8s.io/v1", .now = "t2"};

json webhook(const json& fields) {
  json entry = {{"name", "w"}};
  entry.update(fields);
  return {{"metadata", {{"name", "c"}}}, {"webhooks", {entry}}};
}

Outcome<json> applied(const json& live, const json& wanted, const FieldManager& manager, bool force = false) {
  return apply(kConfigurations, Schema::built_in(), live, wanted, manager, force);
}

TEST_CASE("fields are told by the keys of list maps, and read back as they were written") {
  const json object = webhook({{"timeoutSeconds", 5}, {"rules", {1, 2}}});
  const FieldSet set = keys_of(field_values(object, Schema::built_in()));
  const json text = to_fields_v1(set);
  CHECK(text == json::parse(R"({"f:webhooks": {"k:{\"name\":\"w\"}":
      {".": {}, "f:name": {}, "f:rules": {}, "f:timeoutSeconds": {}}}})"));
  CHECK(from_fields_v1(text) == set);
  CHECK(to_string(FieldPath{"f:webhooks", R"(k:{"name":"w"})", "f:timeoutSeconds"}) ==
        R"(.webhooks[name="w"].timeoutSeconds)");
}

TEST_CASE("a leaf of another manager is a conflict that names him, and force takes it") {
  const auto first = applied(json::object(), webhook({{"timeoutSeconds", 5}}), kMe);
  REQUIRE(first);
  const auto refused = applied(*first, webhook({{"timeoutSeconds", 7}}), kOther);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == 409);
  CHECK(refused.error().message ==
        R"(Apply failed with 1 conflict: conflict with "me": .webhooks[name="w"].timeoutSeconds)");
  const auto forced = applied(*first, webhook({{"timeoutSeconds", 7}}), kOther, true);
  REQUIRE(forced);
  CHECK((*forced)["webhooks"][0]["timeoutSeconds"] == 7);
  CHECK_FALSE(applied(*forced, webhook({{"timeoutSeconds", 5}}), kMe));
}

TEST_CASE("what an applier drops goes, unless somebody else owns it") {
  const auto first = applied(json::object(), webhook({{"timeoutSeconds", 5}, {"failurePolicy", "Ignore"}}), kMe);
  const auto shared = applied(*first, webhook({{"timeoutSeconds", 5}}), kOther);
  REQUIRE(shared);
  const auto dropped = applied(*shared, webhook(json::object()), kMe);
  REQUIRE(dropped);
  CHECK((*dropped)["webhooks"][0] == json{{"name", "w"}, {"timeoutSeconds", 5}});
}

TEST_CASE("what a plain write changes belongs to its manager") {
  const auto first = applied(json::object(), webhook({{"timeoutSeconds", 5}}), kMe);
  json after = *first;
  after["webhooks"][0]["timeoutSeconds"] = 8;
  note_update(Schema::built_in(), *first, after, {.name = "editor", .api_version = "v1", .now = "t3"});
  const auto refused = applied(after, webhook({{"timeoutSeconds", 5}}), kMe);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message.contains(R"(conflict with "editor" using v1)"));
}

TEST_CASE("applying the same again changes nothing") {
  const auto first = applied(json::object(), webhook({{"timeoutSeconds", 5}}), kMe);
  const auto again =
      applied(*first, webhook({{"timeoutSeconds", 5}}), {.name = "me", .api_version = kMe.api_version, .now = "later"});
  REQUIRE(again);
  CHECK(*again == *first);
}

TEST_CASE("JSON patches: a test that fails and a path that is not there are a 422") {
  const json object = {{"a", 1}};
  CHECK(
      *json_patch(object, json::parse(R"([{"op":"test","path":"/a","value":1},{"op":"add","path":"/b","value":2}])")) ==
      json{{"a", 1}, {"b", 2}});
  CHECK(json_patch(object, json::parse(R"([{"op":"test","path":"/a","value":2}])")).error().code == 422);
  CHECK(json_patch(object, json::parse(R"([{"op":"remove","path":"/b"}])")).error().code == 422);
  CHECK(json_patch(object, json::parse(R"({"a":1})")).error().code == 400);
}

}  // namespace
}  // namespace sharder::apiserver
