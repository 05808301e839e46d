#include "ctl/plan.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "ctl/plan_command.h"
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
  CHECK(members_after(ring, {.shards = 1})->members() == Names{"ctl-0"});
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
        "no available shard of the ring ring is called \"shard-x\"; did you mean shard-a?");
  CHECK(!members_after(ring, {.add = {"shard-a"}}));
}

TEST_CASE("a ring whose shards are all cordoned after a change, or before it, has them all as members (protocol, 12)") {
  constexpr const char* kIgnored = "when all shards are cordoned, the cordons have no effect";
  const RingFacts one =
      facts::with_leases({facts::cordoned(facts::lease("ring", "a", "a")), facts::lease("ring", "b", "b")});
  CHECK(members_after(one, {.remove = {"b"}})->members() == Names{"a"});
  CHECK(members_after(one, {.remove = {"b"}})->assumption == kIgnored);
  CHECK(members_after(one, {.cordon = {"b"}})->members() == Names{"a", "b"});
  CHECK(members_after(one, {.remove = {"a"}})->members() == Names{"b"});
  CHECK(members_after(one, {.remove = {"a"}})->assumption.empty());
  const Plan emptied = plan_of(one, {.remove = {"b"}}, 64);
  CHECK(emptied.moved() == 64);
  CHECK(emptied.moves.at({"b", "a"}) == 64);

  const RingFacts both = facts::with_leases(
      {facts::cordoned(facts::lease("ring", "a", "a")), facts::cordoned(facts::lease("ring", "b", "b"))});
  const Plan joined = plan_of(both, {.add = {"c"}}, 40);
  CHECK(joined.change.members() == Names{"c"});
  CHECK(joined.change.assumption == kIgnored);
  CHECK(joined.drains == 40);
  CHECK(members_after(both, {.add = {"a"}})->members() == Names{"a"});
  CHECK(members_after(both, {.remove = {"a", "b"}})->members().empty());
}

TEST_CASE("a cordoned shard has its number in a StatefulSet") {
  const RingFacts ring = facts::with_leases({facts::lease("ring", "ctl-0", "ctl-0"),
                                             facts::cordoned(facts::lease("ring", "ctl-1", "ctl-1")),
                                             facts::lease("ring", "ctl-2", "ctl-2")});
  CHECK(members_after(ring, {.shards = 3})->added.empty());
  CHECK(members_after(ring, {.shards = 4})->added == Names{"ctl-3"});
  CHECK(members_after(ring, {.shards = 4})->members() == Names{"ctl-0", "ctl-2", "ctl-3"});
  CHECK(members_after(ring, {.shards = 1})->removed == Names{"ctl-2", "ctl-1"});
}

TEST_CASE("after random changes the members are those that the sharder would have, Lease by Lease") {
  const auto lease = [](const std::string& name, bool is_cordoned) {
    const nlohmann::json held = facts::lease("ring", name, name);
    return is_cordoned ? facts::cordoned(held) : held;
  };
  std::mt19937 random(15);
  const auto draw = [&random](std::size_t below) {
    return std::uniform_int_distribution<std::size_t>(0, below - 1)(random);
  };
  for (int round = 0; round < 500; ++round) {
    std::map<std::string, bool> shards;  // whether they are cordoned
    for (std::size_t number = 0, count = draw(5); number < count; ++number) {
      shards["s-" + std::to_string(draw(8))] = draw(2) == 0;
    }
    const auto ring_of = [&lease](const std::map<std::string, bool>& all) {
      std::vector<nlohmann::json> leases;
      std::ranges::transform(all, std::back_inserter(leases),
                             [&](const auto& one) { return lease(one.first, one.second); });
      return facts::with_leases(leases);
    };
    const RingFacts before = ring_of(shards);
    Change change;
    for (const auto& [name, is_cordoned] : std::map(shards)) {
      switch (draw(4)) {
        case 0:
          change.remove.push_back(name);
          shards.erase(name);
          break;
        case 1:
          (is_cordoned ? change.add : change.cordon).push_back(name);
          shards[name] = !is_cordoned;
          break;
        default:
          break;
      }
    }
    if (draw(3) == 0) {
      change.add.emplace_back("joins");
      shards["joins"] = false;
    }
    const auto after = members_after(before, change);
    REQUIRE(after);
    const RingFacts expected = ring_of(shards);
    CHECK(after->members() == expected.entry->ring().shards());
    CHECK(after->entry->cordoned() == expected.entry->cordoned());
    // Said once more without the sharder's code.
    Names members;
    const bool all_cordoned = std::ranges::all_of(shards, [](const auto& one) { return one.second; });
    for (const auto& [name, is_cordoned] : shards) {
      if (!is_cordoned || all_cordoned) {
        members.push_back(name);
      }
    }
    CHECK(after->members() == members);
  }
}

TEST_CASE("a cordon ends the grace of a shard: it leaves, and acknowledges nothing (protocol, 12)") {
  nlohmann::json object = facts::ring("ring");
  object["metadata"]["annotations"][ring::kGracePeriodAnnotation] = "2m";
  std::vector<RingFacts> rings{*decode_ring_facts(object)};
  enrol(rings,
        {*membership::decode_shard_lease(facts::lease("ring", "a", "a").dump()),
         *membership::decode_shard_lease(facts::lease("ring", "b", "").dump())},
        facts::kNow);
  const RingFacts& ring = rings.front();
  REQUIRE(ring.entry->ring().shards() == Names{"a", "b"});
  const Plan plan = plan_of(ring, {.cordon = {"b"}}, 100);
  CHECK(plan.change.members() == Names{"a"});
  CHECK(plan.change.assumption == "a cordon ends a grace");
  CHECK(plan.drains == 0);
  CHECK(plan.reassigns == plan.now.at("b"));
}

TEST_CASE("a name that is given twice, has its cordon already or can be no shard is refused") {
  const RingFacts ring =
      facts::with_leases({facts::lease("ring", "a", "a"), facts::cordoned(facts::lease("ring", "b", "b"))});
  CHECK(members_after(ring, {.remove = {"a", "a"}}).error().message == "the shard \"a\" is given twice");
  CHECK(members_after(ring, {.remove = {"a"}, .cordon = {"a"}}).error().message == "the shard \"a\" is given twice");
  CHECK(members_after(ring, {.cordon = {"b"}}).error().message == "\"b\" of the ring ring is cordoned already");
  CHECK(members_after(ring, {.add = {std::string(63, 'x')}}));
  for (const std::string& name : {std::string(64, 'x'), std::string("A B;$(x)"), std::string("-x")}) {
    CHECK(
        members_after(ring, {.add = {name}}).error().message.starts_with("a shard cannot be called \"" + name + "\""));
  }
  CHECK(members_after(ring, {.add = {"", ""}})->added == Names{"new-1", "new-2"});
}

TEST_CASE("a ring of the most shards is planned at once, and one of more is refused") {
  const RingFacts ring = facts::with_members({"x", "y"});
  const auto began = std::chrono::steady_clock::now();
  const auto after = members_after(ring, {.shards = kMostShards});
  CHECK(after->members().size() == kMostShards);
  CHECK(after->added.back() == "new-9998");
  CHECK(std::chrono::steady_clock::now() - began < std::chrono::seconds(20));  // made-up names one by one took minutes
  CHECK(members_after(ring, {.shards = kMostShards + 1}).error().message ==
        "--shards: 10001 are too many; want 10000 at most");
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

TEST_CASE("the numbers of a gate and of an estimate are in their ranges") {
  const auto request = [](const char* flag, const char* value) {
    Invocation invocation;
    invocation.flags = {{"add", "x"}, {flag, value}};
    return read_plan_request(invocation);
  };
  for (const char* const value : {"nan", "inf", "-0%", "-1", "101%", "40%%", "", "1e999", "x"}) {
    CHECK(request("fail-over", value).error().message ==
          "--fail-over: want a number from 0 to 100%, got \"" + std::string(value) + "\"");
  }
  for (const char* const value : {"nan", "inf", "0", "-0", "1e-300", "1e300", "300%"}) {
    CHECK(request("rate", value).error().message ==
          "--rate: want a number from 0.01 to 1000000, got \"" + std::string(value) + "\"");
  }
  CHECK(request("fail-over", "12.5%")->most == 12.5);
  CHECK(request("fail-over", "0")->most == 0);
  CHECK(request("rate", "0.5")->rate == 0.5);
  CHECK(request("rate", "40")->most == 100);
}

TEST_CASE("a gate is open for as many moves as it says, and closed for one more") {
  Plan plan;
  const auto moves_more_than = [&plan](std::int64_t moved, std::int64_t objects, double percent) {
    plan.drains = moved;
    plan.objects = objects;
    return plan.moves_more_than(percent);
  };
  CHECK_FALSE(moves_more_than(7, 100, 7));
  CHECK(moves_more_than(8, 100, 7));
  CHECK_FALSE(moves_more_than(57, 10'000, 0.57));
  CHECK(moves_more_than(58, 10'000, 0.57));
  CHECK_FALSE(moves_more_than(0, 0, 0));
  CHECK(moves_more_than(1, 1'000'000, 0));
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
  const auto file = read_plan_file({list.dump()}, "ring", "", facts::kNow);
  REQUIRE(file);
  REQUIRE(file->objects.size() == 1);
  CHECK(file->objects[0].first.role == ring::Role::kMain);
  CHECK(file->objects[0].second.name == name);
  CHECK(file->ring.entry->ring().shards() == Names{"a", "b"});
  // JSON with a comment is YAML only.
  CHECK(read_plan_file({"# as YAML\n" + list.dump(2)}, "ring", "", facts::kNow)->objects.size() == 1);
  CHECK(read_plan_file({list.dump()}, "rign", "", facts::kNow).error().message ==
        "no ring \"rign\" in the file; did you mean ring?");
  CHECK(!read_plan_file({facts::ring("ring").dump()}, "ring", "", facts::kNow));
  CHECK(!read_plan_file({"{"}, "ring", "", facts::kNow));
}

namespace {

nlohmann::json object_of(const char* api_version, const char* kind, const std::string& name,
                         const std::string& object_namespace = "ns") {
  return {{"apiVersion", api_version}, {"kind", kind}, {"metadata", {{"name", name}, {"namespace", object_namespace}}}};
}

// A ring with a namespaceSelector, two Leases, and these.
std::string file_of(const nlohmann::json& ring, const std::vector<nlohmann::json>& objects) {
  nlohmann::json list{{"apiVersion", "v1"},
                      {"kind", "List"},
                      {"items", {ring, facts::lease("ring", "a", "a"), facts::lease("ring", "b", "b")}}};
  for (const nlohmann::json& object : objects) {
    list["items"].push_back(object);
  }
  return list.dump();
}

nlohmann::json ring_for(const nlohmann::json& selector, const nlohmann::json& resources = {}) {
  nlohmann::json ring = facts::ring("ring");
  ring["spec"]["namespaceSelector"] = selector;
  if (!resources.is_null()) {
    ring["spec"]["resources"] = resources;
  }
  return ring;
}

std::vector<std::string> messages_of(const PlanFile& file) {
  std::vector<std::string> messages;
  std::ranges::transform(file.gaps, std::back_inserter(messages), [](const Gap& gap) { return gap.error.message; });
  return messages;
}

const auto kAll = nlohmann::json::object();
const nlohmann::json kTeam{{"matchLabels", {{"team", "x"}}}};
const nlohmann::json kConfigMap = object_of("v1", "ConfigMap", "c");

}  // namespace

TEST_CASE("what the files lack for the selection of objects is said, and is a finding") {
  const nlohmann::json secret = object_of("v1", "Secret", "s");
  nlohmann::json labelled = object_of("v1", "Namespace", "ns");
  labelled["metadata"]["labels"] = {{"team", "x"}};
  const auto read = [](const std::string& text) { return *read_plan_file({text}, "ring", "", facts::kNow); };

  CHECK(messages_of(read(file_of(ring_for(kAll), {secret, kConfigMap}))).empty());
  CHECK(messages_of(read(file_of(ring_for(kTeam), {secret, kConfigMap, labelled}))).empty());
  const PlanFile without = read(file_of(ring_for(kTeam), {secret, kConfigMap}));
  CHECK(messages_of(without) ==
        Names{"the files have no labels of 1 namespace, such as ns: objects there are counted as selected"});
  CHECK(worst_of(without.gaps) == ExitCode::kFindings);
  // One of two.
  CHECK(messages_of(
            read(file_of(ring_for(kTeam), {secret, kConfigMap, labelled, object_of("v1", "Secret", "s", "other")}))) ==
        Names{"the files have no labels of 1 namespace, such as other: objects there are counted as selected"});
  CHECK(messages_of(read(file_of(facts::ring("ring"), {secret, kConfigMap}))) ==
        Names{"the files have no MutatingWebhookConfiguration of the ring ring, which has no namespaceSelector: the "
              "default one is assumed"});
}

TEST_CASE("a resource of which the files have nothing is said, unless they have its empty list") {
  const std::string objects = file_of(ring_for(kAll), {object_of("v1", "Secret", "s")});
  const auto without = read_plan_file({objects}, "ring", "", facts::kNow);
  CHECK(messages_of(*without) == Names{"the files have no configmaps; if there are none, what kubectl get --raw prints "
                                       "of them, as a further file, says so"});
  CHECK(worst_of(without->gaps) == ExitCode::kFindings);
  const std::string empty = R"({"kind": "ConfigMapList", "apiVersion": "v1", "metadata": {}, "items": []})";
  CHECK(read_plan_file({objects, empty}, "ring", "", facts::kNow)->gaps.empty());
  // The objects of such a list do not say their kind.
  const std::string raw =
      R"({"kind": "ConfigMapList", "apiVersion": "v1", "items": [{"metadata": {"name": "c", "namespace": "ns"}}]})";
  const auto with = read_plan_file({objects, raw}, "ring", "", facts::kNow);
  CHECK(with->gaps.empty());
  REQUIRE(with->objects.size() == 2);
  CHECK(with->objects[1].first.resource == facts::kConfigMaps.resource);
  CHECK(with->objects[1].first.role == ring::Role::kControlled);
}

TEST_CASE("a kind with an irregular plural is known by its CRD; without it, the kinds that it may be are said") {
  const nlohmann::json ring = ring_for(
      kAll, {{{"group", "x.example.com"}, {"resource", "oxen"}}, {{"group", "x.example.com"}, {"resource", "toys"}}});
  const nlohmann::json ox = object_of("x.example.com/v1", "Ox", "o");
  const nlohmann::json toy = object_of("x.example.com/v1", "Toy", "t");
  const nlohmann::json crd{{"apiVersion", "apiextensions.k8s.io/v1"},
                           {"kind", "CustomResourceDefinition"},
                           {"metadata", {{"name", "oxen.x.example.com"}}},
                           {"spec", {{"group", "x.example.com"}, {"names", {{"kind", "Ox"}, {"plural", "oxen"}}}}}};
  const auto without = read_plan_file({file_of(ring, {ox, toy})}, "ring", "", facts::kNow);
  CHECK(without->objects.size() == 1);
  REQUIRE(without->gaps.size() == 1);
  CHECK(without->gaps[0].resource == "oxen.x.example.com");
  CHECK(
      without->gaps[0].error.message ==
      "the files have no oxen.x.example.com, unless it is what Ox is: its CustomResourceDefinition, as a further file, "
      "says so");
  const auto with = read_plan_file({file_of(ring, {ox, toy, crd})}, "ring", "", facts::kNow);
  CHECK(with->gaps.empty());
  REQUIRE(with->objects.size() == 2);
  CHECK(with->objects[0].first.resource == kube::Resource{"x.example.com", "v1", "oxen", "Ox", true});
}

TEST_CASE("an object that cannot be read is said, and the others are counted") {
  nlohmann::json bad = object_of("v1", "Secret", "bad");
  bad["metadata"]["labels"] = {{"a", 1}};  // as YAML reads `a: 1`
  const auto file =
      read_plan_file({file_of(ring_for(kAll), {bad, object_of("v1", "Secret", "s")})}, "ring", "", facts::kNow);
  REQUIRE(file);
  CHECK(file->objects.size() == 1);
  const Names messages = messages_of(*file);
  CHECK(std::ranges::count_if(messages, [](const std::string& message) {
          return message.starts_with("an object of secrets cannot be read, and is not counted: ");
        }) == 1);
}

TEST_CASE("an object that is in the files twice counts once, and -n counts those of one namespace") {
  const std::string text =
      file_of(ring_for(kAll), {object_of("v1", "Secret", "s"), object_of("v1", "Secret", "s", "other"),
                               object_of("v1", "Secret", "s"), kConfigMap});
  CHECK(read_plan_file({text, text}, "ring", "", facts::kNow)->objects.size() == 3);
  const auto other = read_plan_file({text, text}, "ring", "other", facts::kNow);
  REQUIRE(other->objects.size() == 1);
  CHECK(other->objects[0].second.object_namespace == "other");
  CHECK(other->gaps.empty());
}
