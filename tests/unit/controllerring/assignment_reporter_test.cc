#include "controllerring/assignment_reporter.h"

#include <doctest/doctest.h>

#include <chrono>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "ring/names.h"
#include "tests/unit/controllerring/harness.h"

// docs/decisions/0010-audit.md: the leader reports in the condition AllAssigned whether all objects have a shard.
using namespace sharder;
using namespace sharder::controllerring;
using namespace std::chrono_literals;
using nlohmann::json;
using sharder::testing::ControllerHarness;
using sharder::testing::make_error;

namespace {

// A controller, and what is counted of its ring.
struct Case : ControllerHarness {
  Case() {
    controller->report_assignment([this](const std::string& /*ring*/) { return counted; });
    publish({make_ring("r")});
    lead();
  }
  // Secrets have had no shard for so long.
  void leave(std::size_t objects, std::chrono::nanoseconds oldest) {
    counted = {{.resource = "secrets", .objects = objects, .oldest = oldest, .example = "ns/first"},
               {.resource = "configmaps", .objects = 0}};
  }
  json condition() {
    for (const json& each : rings["r"].value("/status/conditions"_json_pointer, json::array())) {
      if (each["type"] == ring::kAllAssigned) {
        return each;
      }
    }
    return {{"status", "none"}};
  }

  std::optional<std::vector<Unassigned>> counted =
      std::vector<Unassigned>{{.resource = "secrets", .objects = 0}, {.resource = "configmaps", .objects = 0}};
};

}  // namespace

TEST_CASE("the condition says how many objects of which resource have had no shard for 30 s, and names one") {
  using All = std::vector<Unassigned>;
  CHECK(all_assigned(All{})->status == "True");
  CHECK(all_assigned(All{{.resource = "secrets", .objects = 0}})->status == "True");
  CHECK(all_assigned(All{{.resource = "secrets", .objects = 3, .oldest = 29s}})->status == "True");
  const All overdue{{.resource = "secrets", .objects = 3, .oldest = 30s, .example = "ns/a"},
                    {.resource = "pods", .objects = 2, .oldest = 5s, .example = "ns/b"},
                    {.resource = "configmaps", .objects = 1, .oldest = 1h, .example = "ns/c"}};
  CHECK(all_assigned(overdue) ==
        Condition{.status = "False",
                  .reason = "ObjectsUnassigned",
                  .message = "Objects have no shard of this ring: 3 secrets, 1 configmaps; for example secrets ns/a"});
  CHECK_FALSE(all_assigned(std::nullopt));
  CHECK_FALSE(all_assigned(All{{.resource = "secrets", .objects = 0}, {.resource = "pods", .objects = std::nullopt}}));
  // What is known is said, even if not all is.
  CHECK(all_assigned(All{{.resource = "secrets", .objects = 1, .oldest = 30s}, {.resource = "pods", .objects = {}}})
            ->status == "False");
}

TEST_CASE(
    "True with one write; False with one Event when objects stay without a shard; True again when they have one") {
  Case c;
  c.advance(15s);
  CHECK(c.condition()["status"] == "True");
  CHECK(c.condition()["reason"] == "ObjectsAssigned");
  CHECK(c.condition()["observedGeneration"] == 1);
  const auto before = c.statuses.size();
  c.advance(1h);
  CHECK(c.statuses.size() == before);
  c.leave(2, 31s);
  c.advance(15s);
  CHECK(c.condition()["status"] == "False");
  CHECK(c.condition()["message"] == "Objects have no shard of this ring: 2 secrets; for example secrets ns/first");
  CHECK(c.ready(0)["type"] == "Ready");
  CHECK(c.ready(c.statuses.size() - 1)["status"] == "True");  // that keeps its meaning
  REQUIRE(c.told.size() == 1);
  CHECK(c.told[0]["type"] == "Warning");
  CHECK(c.told[0]["reason"] == "ObjectsUnassigned");
  CHECK(c.told[0]["message"] == c.condition()["message"]);
  c.leave(0, 0s);
  c.advance(15s);
  CHECK(c.condition()["status"] == "True");
  CHECK(c.told.size() == 1);
  CHECK(c.statuses.size() == before + 2);
}

TEST_CASE("joins and failovers, in which objects wait for seconds, write nothing") {
  Case c;
  c.advance(15s);
  const auto before = c.statuses.size();
  for (int failover = 0; failover < 20; ++failover) {
    c.leave(5000, 25s);
    c.advance(20s);
    c.leave(0, 0s);
    c.advance(20s);
  }
  CHECK(c.statuses.size() == before);
  CHECK(c.told.empty());
}

TEST_CASE("numbers that change are written once a minute, a status that flaps with growing pauses and one Event") {
  Case c;
  c.advance(15s);
  auto before = c.statuses.size();
  for (std::size_t count = 1; count <= 120; ++count) {  // 10 minutes
    c.leave(count, 1min);
    c.advance(5s);
  }
  CHECK(c.statuses.size() - before <= 11);
  CHECK(c.statuses.size() - before >= 5);
  CHECK(c.told.size() == 1);
  before = c.statuses.size();
  for (int round = 0; round < 30; ++round) {  // 10 minutes
    c.leave(0, 0s);
    c.advance(10s);
    c.leave(1, 1min);
    c.advance(10s);
  }
  CHECK(c.statuses.size() - before <= 32);
  CHECK(c.told.size() == 1);
}

TEST_CASE(
    "what cannot be counted for 30 s is Unknown; a new leader waits for its first count and leaves the condition") {
  Case c;
  c.leave(2, 1h);
  c.advance(15s);
  REQUIRE(c.condition()["status"] == "False");
  c.controller->on_leading(false);
  c.settle();
  c.counted.reset();
  c.lead();
  c.advance(25s);
  CHECK(c.condition()["status"] == "False");
  c.advance(20s);
  CHECK(c.condition()["status"] == "Unknown");
  CHECK(c.condition()["reason"] == "NotCounted");
  c.leave(0, 0s);
  c.advance(1min);
  CHECK(c.condition()["status"] == "True");
}

TEST_CASE("Ready and AllAssigned are written beside each other, and a conflict is read again") {
  Case c;
  c.status_errors = {make_error(ErrorCode::kConflict, "409")};
  c.leave(1, 1h);
  c.advance(20s);
  CHECK(c.condition()["status"] == "False");
  c.publish({c.make_ring("r", 2)});
  c.controller->on_ring_changed("r");
  c.advance(20s);
  CHECK(c.condition()["observedGeneration"] == 2);
  CHECK(c.condition()["status"] == "False");
  CHECK(c.ready(c.statuses.size() - 1)["observedGeneration"] == 2);
}

TEST_CASE("when the leadership ends AllAssigned is not written any more") {
  Case c;
  c.advance(15s);
  c.controller->on_leading(false);
  c.settle();
  const auto before = c.statuses.size();
  c.leave(1, 1h);
  c.advance(5min);
  CHECK(c.statuses.size() == before);
  CHECK_FALSE(c.is_at_work());
}
