#include "sharder/status_source.h"

#include <doctest/doctest.h>

#include <memory>

using namespace sharder;
using namespace std::chrono_literals;

namespace {

struct World {
  ring::Snapshot snapshot;
  ring::RingSet ring_set;

  World() {
    ring::RingStatus status;
    status.spec.name = "r";
    status.webhook_reachable = true;
    status.shards = {{.lease_namespace = "ns", .name = "a", .uid = "", .state = "ready", .available = true},
                     {.lease_namespace = "ns", .name = "b", .uid = "", .state = "dead", .available = false}};
    snapshot.rings.emplace("r", std::make_shared<const ring::RingStatus>(status));
    ring_set.rings.emplace("r", std::make_shared<const ring::RingEntry>(
                                    status.spec, std::make_shared<const ring::Ring>(std::vector<std::string>{"a"})));
  }
};

rebalancer::ResourceReport counted(const char* resource, std::map<std::string, std::size_t> objects) {
  return {.name = {.group = "", .resource = resource},
          .role = ring::Role::kMain,
          .objects = rebalancer::ObjectCount{.age = 2s, .by_shard = std::move(objects)}};
}

}  // namespace

TEST_CASE("a standby shows the ring and its shards, and no figures of the leader's") {
  const World world;
  const auto rings = app::ring_lines(&world.snapshot, &world.ring_set, {});
  REQUIRE(rings.size() == 1);
  CHECK(rings[0].name == "r");
  CHECK(rings[0].webhook_reachable == true);
  CHECK(rings[0].members == std::vector<std::string>{"a"});
  REQUIRE(rings[0].shares.size() == 1);
  CHECK(rings[0].shares[0] == doctest::Approx(1));
  CHECK(rings[0].arcs == std::vector<std::uint32_t>(720, 0));
  REQUIRE(rings[0].shards.size() == 2);
  CHECK(rings[0].shards[1].state == "dead");
  CHECK_FALSE(rings[0].shards[0].objects);
  CHECK(rings[0].resources.empty());
  CHECK(rings[0].moves.empty());
}

TEST_CASE("the leader adds what it has counted, over all resources") {
  const World world;
  rebalancer::RingReport report;
  report.resources = {counted("secrets", {{"a", 3}, {"", 1}}), counted("configmaps", {{"a", 4}})};
  report.resources[0].unassigned = rebalancer::Strays{.objects = 2, .oldest = 3s};
  report.flows[{"b", "a"}] = {.pending = 5, .draining = 6};
  const auto rings = app::ring_lines(&world.snapshot, &world.ring_set, {{"r", report}, {"gone", {}}});
  REQUIRE(rings.size() == 1);
  CHECK(rings[0].shards[0].objects == 7);
  CHECK(rings[0].shards[1].objects == 0);
  REQUIRE(rings[0].resources.size() == 2);
  CHECK(rings[0].resources[0].objects == 4);
  CHECK(rings[0].resources[0].counted_seconds_ago == 2.0);
  CHECK(rings[0].resources[0].unassigned == 2);  // as they are now, not as the pass saw them
  CHECK(rings[0].resources[0].oldest_unassigned_seconds == 3.0);
  CHECK_FALSE(rings[0].resources[1].unassigned);
  REQUIRE(rings[0].moves.size() == 1);
  CHECK(rings[0].moves[0].from == "b");
  CHECK(rings[0].moves[0].pending == 5);
  CHECK(rings[0].moves[0].draining == 6);
}

TEST_CASE("objects are shown when all resources have been counted, and nothing before the first sync") {
  const World world;
  rebalancer::RingReport report;
  report.resources = {counted("secrets", {{"a", 3}}), {.name = {.group = "", .resource = "configmaps"}}};
  const auto rings = app::ring_lines(&world.snapshot, nullptr, {{"r", report}});
  REQUIRE(rings.size() == 1);
  CHECK_FALSE(rings[0].shards[0].objects);
  CHECK(rings[0].resources[0].objects == 3);
  CHECK(rings[0].members.empty());
  CHECK(app::ring_lines(nullptr, nullptr, {}).empty());
}
