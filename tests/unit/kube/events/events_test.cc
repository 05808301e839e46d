#include "kube/events/events.h"

#include <doctest/doctest.h>

#include "kube/client/resource.h"
#include "kube/codec/json.h"
#include "kube/events/event_correlator.h"
#include "tests/support/fake_api.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fake_executor.h"

using namespace sharder;
using namespace sharder::kube;
using namespace std::chrono_literals;

namespace {

const ObjectReference kLease{.api_version = "coordination.k8s.io/v1",
                             .kind = "Lease",
                             .object_namespace = "sharding-system",
                             .name = "sharder",
                             .uid = "uid-1",
                             .resource_version = "235"};
const ObjectReference kRing{.api_version = "sharding.timebertt.dev/v1alpha1",
                            .kind = "ControllerRing",
                            .object_namespace = "",
                            .name = "ring",
                            .uid = "uid-2"};

struct Fixture {
  testing::FakeClock clock;
  testing::FakeExecutor loop{clock};
  testing::FakeApi api{loop};
  EventRecorder recorder{api, clock, "controllerring-controller", Logger::none()};

  void record(const ObjectReference& object, std::string_view message, EventType type = EventType::kNormal) {
    recorder.record(object, type, "Reason", message);
    loop.run();
  }
};

}  // namespace

// Compare tests/testdata/fixtures/events.yaml.
TEST_CASE_FIXTURE(Fixture, "an Event has all that client-go's has") {
  record(kLease, "a became leader");
  REQUIRE(api.pending.size() == 1);
  const Request request = api.answer("{}", 201);
  CHECK(request.method == Method::kPost);
  CHECK(request.target == "/api/v1/namespaces/sharding-system/events");
  CHECK(parse_json(request.body).value() == nlohmann::json::parse(R"({
    "apiVersion": "v1", "kind": "Event",
    "metadata": {"name": "sharder.18867251edfa0000", "namespace": "sharding-system"},
    "involvedObject": {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "name": "sharder",
                       "namespace": "sharding-system", "resourceVersion": "235", "uid": "uid-1"},
    "reason": "Reason", "message": "a became leader", "type": "Normal", "count": 1,
    "source": {"component": "controllerring-controller"},
    "reportingComponent": "controllerring-controller", "reportingInstance": "",
    "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:00Z"})"));
}

TEST_CASE_FIXTURE(Fixture, "Events of cluster-scoped objects stand in default") {
  record(kRing, "m", EventType::kWarning);
  const Request request = api.answer("{}", 201);
  CHECK(request.target == "/api/v1/namespaces/default/events");
  const auto event = parse_json(request.body).value();
  CHECK(event["metadata"]["namespace"] == "default");
  CHECK(event["type"] == "Warning");
  CHECK_FALSE(event["involvedObject"].contains("namespace"));
  CHECK_FALSE(event["involvedObject"].contains("resourceVersion"));
}

TEST_CASE_FIXTURE(Fixture, "the same Event again raises the count") {
  record(kRing, "m");
  const std::string name = string_at(parse_json(api.answer("{}", 201).body).value(), "/metadata/name");
  clock.advance(90s);
  record(kRing, "m");
  const Request request = api.answer("{}");
  CHECK(request.method == Method::kPatch);
  CHECK(request.content_type == kMergePatch);
  CHECK(request.target == "/api/v1/namespaces/default/events/" + name);
  CHECK(parse_json(request.body).value() ==
        nlohmann::json{{"count", 2}, {"lastTimestamp", "2026-01-01T00:01:30Z"}, {"message", "m"}});
  record(kRing, "another");
  CHECK(api.answer("{}", 201).method == Method::kPost);
}

TEST_CASE_FIXTURE(Fixture, "counts that come while the Event is written are one patch after it") {
  for (int i = 0; i < 5; ++i) {
    record(kRing, "m");
  }
  REQUIRE(api.pending.size() == 1);
  CHECK(api.answer("{}", 201).method == Method::kPost);
  REQUIRE(api.pending.size() == 1);
  CHECK(parse_json(api.answer("{}").body).value()["count"] == 5);
  CHECK(api.pending.empty());
}

TEST_CASE_FIXTURE(Fixture, "an Event that the API server has forgotten is made again with its count") {
  record(kRing, "m");
  api.answer("{}", 201);
  record(kRing, "m");
  api.fail({.code = ErrorCode::kNotFound, .message = "404"});
  const Request request = api.answer("{}", 201);
  CHECK(request.method == Method::kPost);
  CHECK(parse_json(request.body).value()["count"] == 2);
}

TEST_CASE_FIXTURE(Fixture, "an Event that could not be written is forgotten") {
  record(kRing, "m");
  record(kRing, "m");
  api.fail({.code = ErrorCode::kForbidden, .message = "403"});
  CHECK(api.pending.empty());
  record(kRing, "m");
  CHECK(api.answer("{}", 201).method == Method::kPost);
  record(kRing, "m");
  api.fail({.code = ErrorCode::kUnavailable, .message = "503"});
  record(kRing, "m");
  CHECK(parse_json(api.answer("{}").body).value()["count"] == 3);
}

TEST_CASE_FIXTURE(Fixture, "what the API server would reject as too long is cut") {
  recorder.record(kRing, EventType::kNormal, std::string(200, 'R'), std::string(1023, 'm') + "\xc3\xa4 \xff");
  loop.run();
  const auto event = parse_json(api.answer("{}", 201).body).value();
  CHECK(event["reason"].get<std::string>().size() == 128);
  CHECK(event["message"].get<std::string>() == std::string(1023, 'm'));
  record(kRing, "\xff");
  CHECK(parse_json(api.answer("{}", 201).body).has_value());
}

TEST_CASE_FIXTURE(Fixture, "a recorder that goes leaves its Events under way") {
  {
    EventRecorder other(api, clock, "c", Logger::none());
    other.record(kRing, EventType::kNormal, "R", "m");
  }
  loop.run();
  CHECK(api.answer("{}", 201).method == Method::kPost);
}

TEST_CASE("an object has a budget of Events, a type at a time") {
  EventCorrelator correlator;
  SteadyTime now(1h);
  const auto write = [&](const ObjectReference& object, EventType type = EventType::kNormal) {
    return correlator.observe(object, type, "R", "m", WallTime(1h), now).has_value();
  };
  int written = 0;
  for (int i = 0; i < 100; ++i) {
    written += write(kRing) ? 1 : 0;
  }
  CHECK(written == 25);
  CHECK(write(kRing, EventType::kWarning));
  CHECK(write(kLease));
  now += 5min;
  CHECK(write(kRing));
  CHECK_FALSE(write(kRing));
  now += 24h;
  written = 0;
  for (int i = 0; i < 100; ++i) {
    written += write(kRing) ? 1 : 0;
  }
  CHECK(written == 25);
}

TEST_CASE("many messages of one kind become one Event") {
  EventCorrelator correlator;
  SteadyTime now(1h);
  std::set<std::string> names;
  std::optional<EventRecord> last;
  for (int i = 0; i < 20; ++i) {
    last = correlator.observe(kRing, EventType::kNormal, "R", "message " + std::to_string(i), WallTime(1h), now);
    REQUIRE(last.has_value());
    names.insert(last->name);
    now += 1min;
  }
  CHECK(names.size() == 10);
  CHECK(last->count == 11);
  CHECK(last->message == "(combined from similar events): message 19");
  now += 1h;
  CHECK(correlator.observe(kRing, EventType::kNormal, "R", "message 20", WallTime(1h), now)->message == "message 20");
}

TEST_CASE("names are the object's with the time in hex, never the same twice, never too long") {
  EventCorrelator correlator;
  const auto name_for = [&](const std::string& object, const std::string& message) {
    return correlator
        .observe({.api_version = "v1", .kind = "K", .object_namespace = "", .name = object, .uid = ""},
                 EventType::kNormal, "R", message, WallTime(std::chrono::microseconds(0x1000)), SteadyTime(1h))
        ->name;
  };
  CHECK(name_for("a", "1") == "a.3e8000");
  CHECK(name_for("a", "2") == "a.3e8001");
  CHECK(name_for(std::string(235, 'a') + "." + std::string(17, 'b'), "1") == std::string(235, 'a') + ".3e8002");
  CHECK(name_for(std::string(253, 'a'), "1").size() <= 253);
}

TEST_CASE("memory does not grow with the number of objects") {
  EventCorrelator correlator;
  LruMap<int> map(3);
  for (int i = 0; i < 10; ++i) {
    map["kept"] += 1;
    map[std::to_string(i)] = i;
  }
  CHECK(map.size() == 3);
  CHECK(*map.find("kept") == 10);
  CHECK(*map.find("9") == 9);
  CHECK(map.find("7") == nullptr);
  map.erase("9");
  map.erase("9");
  CHECK(map.find("9") == nullptr);
  CHECK(map.size() == 2);
}
