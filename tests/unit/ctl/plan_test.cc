#include "ctl/plan.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "ctl/plan_file.h"
#include "tests/unit/ctl/facts.h"

using namespace sharder;
using namespace sharder::ctl;

namespace {

using Names = std::vector<std::string>;

// All objects are where they belong.
Plan plan_of(const RingFacts& ring, const Change& change, int objects) {
  Planner planner(ring, *members_after(ring, change), true);
  for (int number = 0; number < objects; ++number) {
    const std::string name = "s-" + std::to_string(number);
    planner.consider(facts::kSecrets, facts::everything(),
                     facts::secret(name, std::string(*ring.entry->ring().owner("/Secret/ns/" + name))));
  }
  return planner.plan();
}

}  // namespace

TEST_CASE("members of a StatefulSet get the next numbers, and lose the highest") {
  const RingFacts ring = facts::with_members({"ctl-0", "ctl-1", "ctl-2"});
  CHECK(members_after(ring, {.shards = 5})->added == Names{"ctl-3", "ctl-4"});
  CHECK(members_after(ring, {.shards = 1})->removed == Names{"ctl-2", "ctl-1"});
  CHECK(members_after(ring, {.shards = 1})->members == Names{"ctl-0"});
}

TEST_CASE("of other members the newest go, and new ones have made-up names") {
  const RingFacts ring = facts::with_leases({facts::lease("ring", "x-abc", "x-abc", "2026-11-22T00:00:00Z"),
                                             facts::lease("ring", "x-def", "x-def", "2026-11-22T03:00:00Z"),
                                             facts::lease("ring", "x-ghi", "x-ghi", "2026-11-22T02:00:00Z")});
  CHECK(members_after(ring, {.shards = 2})->removed == Names{"x-def"});
  CHECK(members_after(ring, {.shards = 5})->added == Names{"new-1", "new-2"});
  CHECK(members_after(ring, {.add = {"", "mine"}})->added == Names{"new-1", "mine"});
}

TEST_CASE("a change of what is not there names what is") {
  const RingFacts ring = facts::with_members({"shard-a", "shard-b"});
  CHECK(members_after(ring, {.remove = {"shard-x"}}).error().message ==
        "no member of the ring ring is called \"shard-x\"; did you mean shard-a?");
  CHECK(!members_after(ring, {.add = {"shard-a"}}));
}

TEST_CASE("a shard that joins gets objects by drains, and only what belongs to it moves") {
  const RingFacts ring = facts::with_members({"a", "b", "c"});
  const Plan plan = plan_of(ring, {.add = {"d"}}, 1000);
  CHECK(plan.objects == 1000);
  CHECK(plan.drains == plan.after.at("d"));
  CHECK(plan.reassigns == 0);
  CHECK(plan.anyway == 0);
  CHECK(plan.moved() > 100);
  CHECK(plan.moved() < 450);
  for (const PlannedMove& move : plan.list) {
    CHECK(move.to == "d");
  }
  CHECK(plan.requests() == 2 * plan.drains + 2);
}

TEST_CASE("a shard that ends has nothing to acknowledge; one that is cordoned lets go of main objects itself") {
  const RingFacts ring = facts::with_members({"a", "b", "c"});
  const Plan removed = plan_of(ring, {.remove = {"b"}}, 300);
  const Plan cordoned = plan_of(ring, {.cordon = {"b"}}, 300);
  CHECK(removed.drains == 0);
  CHECK(removed.reassigns == removed.now.at("b"));
  CHECK(cordoned.drains == removed.reassigns);
  CHECK(cordoned.reassigns == 0);
  CHECK(removed.after == cordoned.after);
  CHECK(!removed.after.contains("b"));
}

TEST_CASE("a controlled object moves with its owner, in one patch") {
  const RingFacts ring = facts::with_members({"a", "b"});
  Planner planner(ring, *members_after(ring, {.cordon = {"b"}}), true);
  planner.consider(facts::kConfigMaps, facts::everything(), facts::config_map("c", facts::name_for(ring, "b"), "b"));
  planner.consider(facts::kConfigMaps, facts::everything(), facts::secret("without-owner", "b"));
  CHECK(planner.plan().objects == 1);
  CHECK(planner.plan().reassigns == 1);
  CHECK(planner.plan().drains == 0);
}

TEST_CASE("what would move without the change is said to") {
  const RingFacts ring = facts::with_members({"a", "b"});
  Planner planner(ring, *members_after(ring, {.remove = {"b"}}), false);
  planner.consider(facts::kSecrets, facts::everything(), facts::secret(facts::name_for(ring, "a"), ""));
  planner.consider(facts::kSecrets, facts::everything(), facts::secret(facts::name_for(ring, "b"), "b"));
  CHECK(planner.plan().moved() == 2);
  CHECK(planner.plan().anyway == 1);
  CHECK(planner.plan().list.empty());
  CHECK(render_plan(planner.plan(), 300, {}).contains("1 of them are not where they belong now either"));
}

TEST_CASE("a plan is made of what kubectl prints, as JSON and as YAML") {
  const RingFacts ring = facts::with_members({"a", "b"});
  const std::string name = facts::name_for(ring, "b");
  const nlohmann::json secret{
      {"apiVersion", "v1"},
      {"kind", "Secret"},
      {"metadata", {{"name", name}, {"namespace", "ns"}, {"labels", {{ring::shard_label("ring"), "b"}}}}}};
  const nlohmann::json list{
      {"apiVersion", "v1"},
      {"kind", "List"},
      {"items", {facts::ring("ring"), facts::lease("ring", "a", "a"), facts::lease("ring", "b", "b"), secret}}};
  const auto file = read_plan_file({list.dump()}, "ring", facts::kNow);
  REQUIRE(file);
  REQUIRE(file->objects.size() == 1);
  CHECK(file->objects[0].first.role == ring::Role::kMain);
  CHECK(file->objects[0].second.name == name);
  CHECK(file->ring.entry->ring().shards() == Names{"a", "b"});
  // JSON with a comment is YAML only.
  CHECK(read_plan_file({"# as YAML\n" + list.dump(2)}, "ring", facts::kNow)->objects.size() == 1);
  CHECK(read_plan_file({list.dump()}, "rign", facts::kNow).error().message ==
        "no ring \"rign\" in the file; did you mean ring?");
  CHECK(!read_plan_file({facts::ring("ring").dump()}, "ring", facts::kNow));
  CHECK(!read_plan_file({"{"}, "ring", facts::kNow));
}
