#include "controllerring/status.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "base/rfc3339.h"
#include "ring/names.h"
#include "tests/unit/controllerring/fixture.h"

using namespace sharder;
using namespace sharder::controllerring;
using nlohmann::json;

namespace {

const WallTime kNow = *parse_rfc3339("2026-11-23T08:00:00.5Z");

json ring_without_status() {
  return json::parse(R"({"metadata": {"name": "r", "resourceVersion": "7", "generation": 2}, "spec": {"x": 1}})");
}

json next(const json& document, const Outcome& outcome, WallTime now = kNow) {
  auto body = status_body(document.dump(), outcome, now);
  REQUIRE(body);
  REQUIRE(*body);
  return json::parse((*body)->text());
}

bool unchanged(const json& document, const Outcome& outcome) {
  auto body = status_body(document.dump(), outcome, kNow);
  REQUIRE(body);
  return !*body;
}

}  // namespace

TEST_CASE("the first success (protocol, 2)") {
  const json body = next(ring_without_status(), {.generation = 2, .error = {}, .shards = 3, .available_shards = 1});
  json expected = ring_without_status();  // everything else stays, the resourceVersion above all
  expected["status"] = json::parse(R"({"observedGeneration": 2, "shards": 3, "availableShards": 1, "conditions": [
    {"type": "Ready", "status": "True", "reason": "ReconciliationSucceeded", "observedGeneration": 2,
     "message": "ControllerRing was successfully reconciled", "lastTransitionTime": "2026-11-23T08:00:00Z"}]})");
  CHECK(body == expected);
}

TEST_CASE("no shards are reported as 0: the counts are required (protocol, 2)") {
  const json body = next(ring_without_status(), {.generation = 2});
  CHECK(body["status"]["shards"] == 0);
  CHECK(body["status"]["availableShards"] == 0);
  const json failed = next(ring_without_status(), {.generation = 2, .error = "x"});
  CHECK(failed["status"]["shards"] == 0);
  CHECK(failed["status"]["availableShards"] == 0);
}

TEST_CASE("a failure is capitalised and leaves the old counts (protocol, 2)") {
  json before = next(ring_without_status(), {.generation = 2, .error = {}, .shards = 3, .available_shards = 1});
  const json body =
      next(before, {.generation = 3, .error = "resource \"foos\" is missing", .shards = 9, .available_shards = 9},
           kNow + std::chrono::minutes(1));
  CHECK(body["status"] == json::parse(R"({"observedGeneration": 3, "shards": 3, "availableShards": 1, "conditions": [
    {"type": "Ready", "status": "False", "reason": "ReconciliationFailed", "observedGeneration": 3,
     "message": "Resource \"foos\" is missing", "lastTransitionTime": "2026-11-23T08:01:00Z"}]})"));
}

TEST_CASE("another condition is written beside Ready, and left where it is not known (protocol, 5)") {
  const Condition reachable{.status = "False", .reason = "NoCABundle", .message = "none"};
  const auto alone = [&](const json& document) {
    return condition_body(document.dump(), ring::kWebhookReachable, reachable, 2, kNow).value();
  };
  const json first = json::parse(alone(ring_without_status())->text());
  CHECK(first["metadata"]["resourceVersion"] == "7");
  CHECK(first["status"] == json::parse(R"({"shards": 0, "availableShards": 0, "conditions": [
    {"type": "WebhookReachable", "status": "False", "reason": "NoCABundle", "message": "none",
     "observedGeneration": 2, "lastTransitionTime": "2026-11-23T08:00:00Z"}]})"));
  CHECK_FALSE(alone(first));

  const Outcome success{.generation = 3, .error = {}, .shards = 3, .available_shards = 1};
  const json with_ready = next(first, success);
  REQUIRE(with_ready["status"]["conditions"].size() == 2);
  CHECK(with_ready["status"]["conditions"][0] == first["status"]["conditions"][0]);
  CHECK(with_ready["status"]["conditions"][1]["type"] == "Ready");
  CHECK(with_ready["status"]["shards"] == 3);
  CHECK(json::parse(alone(with_ready).value_or(kube::VersionedObject::of(with_ready).value()).text()) == with_ready);

  // Which generation it holds for comes with Ready, unless somebody has written another one meanwhile.
  Outcome both = success;
  both.others[ring::kWebhookReachable] = reachable;
  const json known = next(with_ready, both);
  CHECK(known["status"]["conditions"][0]["observedGeneration"] == 3);
  CHECK(known["status"]["conditions"][0]["status"] == "False");
  CHECK(unchanged(known, both));
  both.others[ring::kWebhookReachable] = Condition{.status = "True", .reason = "CertificateTrusted", .message = "m"};
  CHECK(unchanged(with_ready, both));
}

TEST_CASE("a condition about a mark is written when it is news, and from then on (protocol, 12)") {
  const MarkCondition none{.type = "ShardsCordoned",
                           .condition = {.status = "False", .reason = "NoneCordoned", .message = "none"}};
  const MarkCondition some{.type = "ShardsCordoned",
                           .condition = {.status = "True", .reason = "CordonedShardsDrain", .message = "a"},
                           .is_news = true};
  json object = next(ring_without_status(), {.generation = 2, .marks = {none}});
  CHECK(object["status"]["conditions"].size() == 1);
  object = next(object, {.generation = 2, .marks = {some}});
  REQUIRE(object["status"]["conditions"].size() == 2);
  CHECK(object["status"]["conditions"][1]["type"] == "ShardsCordoned");
  CHECK(object["status"]["conditions"][1]["status"] == "True");
  CHECK(object["status"]["conditions"][1]["observedGeneration"] == 2);
  CHECK(unchanged(object, {.generation = 2, .marks = {some}}));
  object = next(object, {.generation = 2, .marks = {none}});
  CHECK(object["status"]["conditions"][1]["reason"] == "NoneCordoned");
  CHECK(unchanged(object, {.generation = 2, .marks = {none}}));
}

TEST_CASE("lastTransitionTime moves only with the condition's status (protocol, 2)") {
  const json before = next(ring_without_status(), {.generation = 2, .error = "one"});
  const auto later = kNow + std::chrono::hours(1);
  const json other_error = next(before, {.generation = 2, .error = "two"}, later);
  CHECK(other_error["status"]["conditions"][0]["lastTransitionTime"] == "2026-11-23T08:00:00Z");
  CHECK(other_error["status"]["conditions"][0]["message"] == "Two");
  const json success = next(other_error, {.generation = 2}, later);
  CHECK(success["status"]["conditions"][0]["lastTransitionTime"] == "2026-11-23T09:00:00Z");
  const json counted = next(success, {.generation = 4, .error = {}, .shards = 1, .available_shards = 1}, later);
  CHECK(counted["status"]["conditions"][0]["lastTransitionTime"] == "2026-11-23T09:00:00Z");
  CHECK(counted["status"]["conditions"][0]["observedGeneration"] == 4);
}

TEST_CASE("a status that is right already is not written again (protocol, 2)") {
  const Outcome success{.generation = 2, .error = {}, .shards = 3, .available_shards = 1};
  CHECK(unchanged(next(ring_without_status(), success), success));
  const Outcome failure{.generation = 2, .error = "broken"};
  CHECK(unchanged(next(ring_without_status(), failure), failure));
}

TEST_CASE("a message that is too long for a condition is cut between characters, and written once") {
  std::string error(32765, 'X');
  error += "\u20acY";
  const Outcome failure{.generation = 2, .error = error + "\u20ac"};
  const json body = next(ring_without_status(), failure);
  CHECK(body["status"]["conditions"][0]["message"] == error.substr(0, 32768));
  CHECK(unchanged(body, failure));
  const json shorter = next(ring_without_status(), {.generation = 2, .error = "X" + error});
  CHECK(shorter["status"]["conditions"][0]["message"] == std::string(32766, 'X'));
}

TEST_CASE("the Go sharder's status stays as it is") {
  const json fixture = testing::read_fixture("controllerring.yaml");
  CHECK(unchanged(fixture, {.generation = 1, .error = {}, .shards = 4, .available_shards = 4}));
  const json body = next(fixture, {.generation = 1, .error = {}, .shards = 4, .available_shards = 3});
  json expected = fixture;
  expected["status"]["availableShards"] = 3;
  CHECK(body == expected);
}

TEST_CASE("others' conditions and fields stay") {
  json document = ring_without_status();
  document["status"] = json::parse(R"({"foreign": 7, "conditions": [
    {"type": "Other", "status": "Unknown"}, 17, {"type": "Ready", "status": "True", "extra": 1}]})");
  const json body = next(document, {.generation = 2});
  CHECK(body["status"]["foreign"] == 7);
  CHECK(body["status"]["conditions"][0] == document["status"]["conditions"][0]);
  CHECK(body["status"]["conditions"][1] == 17);
  CHECK(body["status"]["conditions"][2]["extra"] == 1);
  CHECK(body["status"]["conditions"][2]["lastTransitionTime"] == "2026-11-23T08:00:00Z");
  CHECK(body["status"]["conditions"].size() == 3);
}

TEST_CASE("nonsense where the status should be is replaced, and what is no object is an error") {
  json document = ring_without_status();
  for (const json& nonsense : {json(7), json::array(), json(nullptr), json({{"conditions", "x"}})}) {
    document["status"] = nonsense;
    CHECK(next(document, {.generation = 2})["status"]["conditions"].size() == 1);
  }
  CHECK(status_body("[]", {}, kNow).error().code == ErrorCode::kInvalid);
  CHECK(status_body("{", {}, kNow).error().code == ErrorCode::kInvalid);
}

TEST_CASE("the status of a ring without a resourceVersion is not written (design, 6.5)") {
  json document = ring_without_status();
  document["metadata"].erase("resourceVersion");
  CHECK(status_body(document.dump(), {.generation = 2}, kNow).error().message ==
        "ControllerRing: the object has no resourceVersion");
}

TEST_CASE("errors begin with a capital letter") {
  CHECK(capitalised("resource") == "Resource");
  CHECK(capitalised("Resource") == "Resource");
  CHECK(capitalised("\"x\"") == "\"x\"");
  CHECK(capitalised("") == "");
}
