#include "rebalancer/rebalancer.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "rebalancer/move_queue.h"
#include "tests/unit/rebalancer/harness.h"

using namespace sharder;
using namespace sharder::rebalancer;
using namespace sharder::testing;
using namespace std::chrono_literals;
using nlohmann::json;

namespace {

// Patches of objects whose names begin so fail.
FakeCluster::Decision failing_patches(const std::string& prefix, int code, const std::string& message) {
  return [=](const FakeCluster::Call& call) {
    const bool hit = call.route.verb == "patch" && call.route.name.starts_with(prefix);
    return hit ? std::optional(apiserver::failure(code, message)) : std::nullopt;
  };
}

}  // namespace

TEST_CASE("a shard that leaves: exactly its objects go to their new shards, in one patch each (protocol, 6)") {
  Harness h;
  h.start({"a", "b", "c"}, 300);
  CHECK(h.cluster.patches.empty());
  const auto of_b =
      std::ranges::count_if(h.all_labels(), [](const auto& entry) { return entry.second.value(kShard, "") == "b"; });
  REQUIRE(of_b > 50);
  h.change_members({"a", "c"});
  CHECK(h.cluster.patches.size() == static_cast<std::size_t>(of_b));
  CHECK(h.misplaced() == 0);
  h.advance(11min);  // second pass and syncs
  CHECK(h.cluster.patches.size() == static_cast<std::size_t>(of_b));
  CHECK(h.has_metric("controller_sharding_movements_total{controllerring=\"ring\",group=\"\",resource=\"secrets\"} " +
                     std::to_string(of_b)));
}

TEST_CASE(
    "pages, watches and answers are asked for in protobuf, and read in JSON where the API server has nothing else") {
  for (const bool protobuf : {true, false}) {
    CAPTURE(protobuf);
    Harness h;
    h.cluster.protobuf = protobuf;
    h.start({"a", "b"}, 100);
    const int lists = h.cluster.protobuf_lists, events = h.cluster.protobuf_events;
    CHECK((lists > 0) == protobuf);
    h.change_members({"a", "b", "c"});
    h.change_members({"b", "c"});
    CHECK((h.cluster.protobuf_lists > lists) == protobuf);
    CHECK((h.cluster.protobuf_events > events) == protobuf);
    CHECK_FALSE(h.cluster.patches.empty());
    // The answers are understood: what is shown as it was before its move costs no second patch.
    const auto patches = h.cluster.patches.size();
    h.advance(11min);
    CHECK(h.cluster.patches.size() == patches);
  }
}

TEST_CASE("a shard that joins: main objects are drained and wait for the acknowledgement (protocol, 6; design, 6.3)") {
  Harness h;
  h.start({"a", "b"}, 200);
  h.change_members({"a", "b", "c"});
  const int drained = h.misplaced();
  REQUIRE(drained > 30);
  CHECK(h.cluster.patches.size() == static_cast<std::size_t>(drained));
  for (const auto& [name, labels] : h.all_labels()) {
    CHECK(labels.value(kShard, "") != "c");
    CHECK(labels.value(kDrain, labels.value(kShard, "")) == h.owner(name));  // what drains names its target
  }
  h.advance(20min);  // nobody acknowledges: nothing moves, nothing is patched again
  CHECK(h.misplaced() == drained);
  CHECK(h.cluster.patches.size() == static_cast<std::size_t>(drained));
  CHECK(h.has_metric("controller_sharding_draining_objects{controllerring=\"ring\",group=\"\",resource=\"secrets\"} " +
                     std::to_string(drained)));
  CHECK(h.has_metric("controller_sharding_drains_total{controllerring=\"ring\",group=\"\",resource=\"secrets\"} " +
                     std::to_string(drained)));
  // Acknowledged while the webhook is away: the orphan watch shows them, and they are assigned at once.
  h.acknowledge_all();
  h.advance(200ms);
  CHECK(h.misplaced() == 0);
  h.advance(10s);
  CHECK(
      h.has_metric("controller_sharding_draining_objects{controllerring=\"ring\",group=\"\",resource=\"secrets\"} 0"));
}

namespace {

// A name whose Secret the present ring gives to `shard`.
std::string name_of(const Harness& h, std::string_view shard) {
  std::string name = "x";
  while (h.owner(name) != shard) {
    name += "x";
  }
  return name;
}

}  // namespace

TEST_CASE("an acknowledgement that sets the target leaves nothing to do, neither here nor for the webhook") {
  Harness h;
  h.start({"a", "b"}, 200);
  h.change_members({"a", "b", "c"});
  const auto drains = h.cluster.patches.size();
  REQUIRE(drains > 30);
  for (const auto& [name, labels] : h.all_labels()) {
    if (labels.contains(kDrain)) {
      h.acknowledge_to_target(name);
    }
  }
  CHECK(h.misplaced() == 0);
  h.advance(11min);
  CHECK(h.cluster.patches.size() == drains);
}

TEST_CASE("a target that is no longer right: the object is left alone while it drains, then a pass drains it") {
  Harness h;
  h.start({"a", "b"});
  h.members = std::make_shared<const ring::Ring>(std::vector<std::string>{"a", "b", "c", "d"});
  std::string name = name_of(h, "d");
  while (ring::Ring({"a", "b", "c"}).owner("/Secret/ns/" + name) != "c" || h.owner(name) != "d") {
    name += "x";
  }
  h.add_secret(name, {{kShard, "a"}});
  h.change_members({"a", "b", "c"});
  REQUIRE(h.labels(name) == json{{kShard, "a"}, {kDrain, "c"}});
  h.change_members({"a", "b", "c", "d"});
  CHECK(h.labels(name) == json{{kShard, "a"}, {kDrain, "c"}});
  SUBCASE("acknowledged before the further pass, which finds it") {
    h.acknowledge_to_target(name);
    h.advance(11s);
  }
  SUBCASE("acknowledged after it: the next count of what drains brings another one") {
    h.advance(1min);
    CHECK(h.labels(name) == json{{kShard, "a"}, {kDrain, "c"}});
    h.acknowledge_to_target(name);
    h.advance(6s);
  }
  CHECK(h.labels(name) == json{{kShard, "c"}, {kDrain, "d"}});
  h.acknowledge_to_target(name);
  h.advance(11min);
  CHECK(h.labels(name) == json{{kShard, "d"}});
  CHECK(h.cluster.patches.size() == 2);
}

TEST_CASE("a target that has gone when it is set makes an orphan, which is reassigned at once") {
  Harness h;
  h.start({"a", "b"});
  h.members = std::make_shared<const ring::Ring>(std::vector<std::string>{"a", "b", "c"});
  const std::string name = name_of(h, "c");
  const std::string home(ring::Ring({"a", "b"}).owner("/Secret/ns/" + name).value());
  h.add_secret(name, {{kShard, home}});
  h.change_members({"a", "b", "c"});
  REQUIRE(h.labels(name) == json{{kShard, home}, {kDrain, "c"}});
  h.change_members({"a", "b"});
  h.acknowledge_to_target(name);
  REQUIRE(h.labels(name) == json{{kShard, "c"}});
  h.advance(100ms);
  CHECK(h.labels(name) == json{{kShard, home}});
}

TEST_CASE("the shard of a draining object dies: it is reassigned, and the drain label goes in the same patch") {
  Harness h;
  h.start({"a", "b"});
  h.add_secret("x", {{kShard, "a"}, {kDrain, "true"}});
  h.advance(1s);
  h.cluster.patches.clear();
  h.change_members({"b"});
  CHECK(h.labels("x") == json{{kShard, "b"}});
  CHECK(h.cluster.patches.size() == 1);
}

TEST_CASE(
    "a cordoned shard's main objects are drained and stay until it lets go; it is never an orphan's (decision 11)") {
  Harness h;
  h.start({"a", "b", "c"}, 300);
  h.advance(20s);
  const auto before = h.all_labels();
  h.cordoned = {"c"};
  h.change_members({"a", "b"});
  h.advance(5s);
  const std::size_t before_second_pass = h.cluster.patches.size();
  h.advance(1min);
  int drained = 0;
  for (const auto& [name, labels] : h.all_labels()) {
    const json& had = before.at(name);
    CHECK(labels.at(kShard) == had.at(kShard));  // nothing was taken
    if (had.at(kShard) == "c") {
      CHECK(labels.value(kDrain, "") == h.owner(name));
      ++drained;
    } else {
      CHECK(labels == had);
    }
  }
  CHECK(drained > 50);
  CHECK(before_second_pass == static_cast<std::size_t>(drained));
  CHECK(h.cluster.patches.size() == static_cast<std::size_t>(drained));
  CHECK(h.rebalancer->report().at("ring").resources.at(0).objects->by_shard.at("c") ==
        static_cast<std::size_t>(drained));

  SUBCASE("it lets go: each is where it belongs") {
    for (const auto& [name, labels] : h.all_labels()) {
      if (labels.contains(kDrain)) {
        h.acknowledge_to_target(name);
      }
    }
    h.advance(1s);
    CHECK(h.misplaced() == 0);
  }
  SUBCASE("a new object of it, by a replica that lagged, is drained by the next pass") {
    h.add_secret("late", {{kShard, "c"}});
    h.advance(1s);
    CHECK_FALSE(h.labels("late").contains(kDrain));  // no orphan
    h.advance(6min);
    CHECK(h.labels("late").value(kDrain, "") == h.owner("late"));
    CHECK(h.labels("late").at(kShard) == "c");
  }
  SUBCASE("it dies: its objects are orphans, and are reassigned at once") {
    h.cordoned.clear();
    h.change_members({"a", "b"});
    h.advance(1s);
    CHECK(h.misplaced() == 0);
  }
  SUBCASE("it comes back: what drains is let go, and comes back at the next pass") {
    h.cordoned.clear();
    h.change_members({"a", "b", "c"});
    h.advance(1s);
    CHECK(h.misplaced() == 0);
  }
}

TEST_CASE("a cordoned shard that comes back from the dead lets go of what it has still (decision 11)") {
  Harness h;
  h.start({"a", "b"}, 20);
  h.advance(20s);
  h.cluster.patches.clear();
  h.cordoned = {"c"};
  h.add_secret("x", {{kShard, "c"}});  // shown and not, as an orphan watch that was cut leaves it
  h.change_members({"a", "b"});
  h.advance(1s);
  CHECK(h.labels("x").at(kShard) == "c");
  CHECK(h.labels("x").value(kDrain, "") == h.owner("x"));
}

TEST_CASE("a controlled object is moved without a drain, to where its controller is") {
  Harness h;
  h.start({"a", "b"});
  const std::string other = h.owner("main") == "a" ? "b" : "a";
  const json owners =
      json::array({{{"apiVersion", "v1"}, {"kind", "Secret"}, {"name", "main"}, {"uid", "1"}, {"controller", true}}});
  h.cluster.put(kConfigMaps, "ns", "wrong", {{kShard, other}}, owners);
  h.cluster.put(kConfigMaps, "ns", "none", json::object(), owners);
  h.cluster.put(kConfigMaps, "ns", "free", {{"app", "x"}});
  h.advance(6min);
  CHECK(h.cluster.labels(kConfigMaps, "ns/wrong").value(kShard, "") == h.owner("main"));
  CHECK(h.cluster.labels(kConfigMaps, "ns/none").value(kShard, "") == h.owner("main"));
  CHECK_FALSE(h.cluster.labels(kConfigMaps, "ns/free").contains(kShard));
  CHECK(h.cluster.patches.size() == 2);
}

TEST_CASE("an object that the webhook missed gets its shard at once, whatever its label says (design, 5)") {
  Harness h;
  h.start({"a", "b"});
  h.add_secret("none");
  h.add_secret("empty", {{kShard, ""}});
  h.add_secret("unknown", {{kShard, "never-was"}});
  h.advance(100ms);
  CHECK(h.misplaced() == 0);
  CHECK(h.cluster.patches.size() == 3);
}

TEST_CASE("a wrong but living shard, given by a replica that lagged behind, is found by the pass 10 s after a change") {
  Harness h;
  h.start({"a", "b"});
  h.change_members({"a", "b", "c"});
  std::string name = "x";
  while (h.owner(name) != "c") {
    name += "x";
  }
  h.add_secret(name, {{kShard, "a"}});
  h.advance(1s);
  CHECK(h.cluster.patches.empty());
  h.advance(10s);
  CHECK(h.labels(name).contains(kDrain));
}

TEST_CASE("a pass that somebody asks for comes at once, and finds what only a pass finds (protocol, 12)") {
  Harness h;
  h.start({"a", "b"});
  h.advance(20s);
  h.add_secret("x", {{kShard, h.owner("x") == "a" ? "b" : "a"}});  // a member, but the wrong one
  h.advance(1min);
  CHECK(h.cluster.patches.empty());
  h.rebalancer->on_rebalance_requested("nobody");
  h.rebalancer->on_rebalance_requested("ring");
  h.advance(200ms);
  CHECK(h.labels("x").value(kDrain, "") == h.owner("x"));
}

TEST_CASE("drain labels that are left over go at the sync (protocol, 9)") {
  Harness h;
  h.start({"a", "b"});
  h.advance(20s);
  h.add_secret("x", {{kShard, h.owner("x")}, {kDrain, "whatever"}});
  h.advance(1min);
  CHECK(h.cluster.patches.empty());
  h.advance(5min);
  CHECK(h.labels("x") == json{{kShard, h.owner("x")}});
  CHECK(h.cluster.patches.size() == 1);
}

TEST_CASE("what was decided by an older ring is not sent (design, 5)") {
  Harness h(10);
  h.start({"a", "b", "c"}, 300);
  h.cluster.hold_patches = true;
  h.change_members({"a", "b"});
  CHECK(h.api.pending.size() == 10);
  // It comes back before most of its objects were moved.
  h.change_members({"a", "b", "c"});
  h.cluster.hold_patches = false;
  h.advance(1s);
  // Those under way have moved; they drain back. The others were never touched.
  CHECK(h.misplaced() == 10);
  CHECK(h.cluster.patches.size() == 20);
}

TEST_CASE("orphans that wait keep their turn when the ring changes") {
  Harness h(1);
  h.start({"a", "b"});
  h.cluster.hold_patches = true;
  for (const char* const name : {"under-way", "z", "y", "x"}) {
    h.add_secret(name);
    h.advance(50ms);
  }
  h.change_members({"a", "b", "c"});
  h.cluster.patches.clear();
  h.cluster.hold_patches = false;
  h.advance(1s);
  CHECK(h.misplaced() == 0);
  std::vector<std::string> moved;
  for (const FakeCluster::Patch& patch : h.cluster.patches) {
    if (patch.object != "ns/under-way") {
      moved.push_back(patch.object);
    }
  }
  CHECK(moved == std::vector<std::string>{"ns/z", "ns/y", "ns/x"});
}

TEST_CASE("a pass comes to its end also while the ring changes all the time") {
  Harness h;
  h.members = std::make_shared<const ring::Ring>(std::vector<std::string>{"a", "b", "c"});
  std::string last = "zz";
  while (h.owner(last) != "a") {
    last += "z";
  }
  h.start({"a", "b"}, 5000);
  h.add_secret(last, {{kShard, "b"}});  // only a pass finds it, on its last page
  int pages = 0;
  h.cluster.refuse = [&](const FakeCluster::Call& call) {
    const bool hit = call.request.target.contains("/secrets?limit=") && ++pages % 2 == 1;
    return hit ? std::optional(apiserver::failure(500, "each takes a while")) : std::nullopt;
  };
  for (int change = 0; change < 12; ++change) {
    h.change_members({"a", "b", "c"});
    h.change_members({"a", "b"});
  }
  CHECK(h.labels(last).contains(kDrain));
}

TEST_CASE("what only a pass finds is found also while shards leave all the time") {
  Harness h;
  std::vector<std::string> shards{"a", "b", "c", "d", "e", "f", "g", "h"};
  h.start(shards);
  std::string wrong = "x";
  while (h.owner(wrong) != "a") {
    wrong += "x";
  }
  h.advance(1min);
  h.add_secret(wrong, {{kShard, "b"}});
  for (int change = 0; change < 6; ++change) {
    shards.pop_back();
    h.change_members(shards);
    h.advance(2800ms);
  }
  CHECK(h.labels(wrong).contains(kDrain));
}

TEST_CASE("what is shown without a resourceVersion is read, and patched with the one that it has then (design, 6.5)") {
  for (const bool protobuf : {true, false}) {
    CAPTURE(protobuf);
    Harness h;
    h.cluster.protobuf = protobuf;
    h.cluster.versionless_lists = true;
    h.start({"a", "b"}, 30);
    CHECK(h.cluster.reads.empty());
    h.change_members({"b"});
    CHECK(h.misplaced() == 0);
    REQUIRE_FALSE(h.cluster.patches.empty());
    for (const auto& patch : h.cluster.patches) {
      CHECK(patch.body["metadata"]["resourceVersion"] != "");
    }
    CHECK(h.cluster.reads.size() >= h.cluster.patches.size());
    h.add_secret("orphan");
    h.advance(1s);
    CHECK(h.labels("orphan").value(kShard, "") == "b");
  }
}

TEST_CASE("without a resourceVersion there is no patch, but an Event (design, 6.5)") {
  Harness h;
  h.cluster.versionless_lists = true;
  const char* expected = nullptr;
  SUBCASE("the object has none either") {
    h.cluster.versionless_reads = true;
    expected = "without a resourceVersion";
  }
  SUBCASE("reading it is not permitted") {
    h.cluster.refuse = failing("get", "secrets", 403, "cannot get resource");
    expected = "cannot get resource";
  }
  h.start({"a"});
  h.add_secret("orphan");
  h.advance(1min);
  CHECK(h.cluster.patches.empty());
  REQUIRE(h.cluster.events.size() == 1);
  CHECK(h.cluster.events[0]["reason"] == "MoveFailed");
  CHECK(h.cluster.events[0]["message"].get<std::string>().contains(expected));
  CHECK(h.cluster.reads.size() < 10);  // pauses grow
}

TEST_CASE("a conflict reads this object alone, and decides anew (protocol, 9; design, 6.5)") {
  Harness h;
  h.start({"a", "b"});
  h.cluster.hold_patches = true;
  h.add_secret("changed");
  h.add_secret("assigned");
  h.add_secret("deleted");
  h.add_secret("other");
  h.advance(100ms);
  CHECK(h.api.pending.size() == 4);
  h.add_secret("changed", {{"app", "x"}});
  h.add_secret("assigned", {{kShard, h.owner("assigned")}});
  h.cluster.remove(kSecrets, "ns/deleted");
  h.cluster.lists.clear();
  h.cluster.hold_patches = false;
  h.advance(100ms);
  CHECK(h.misplaced() == 0);
  CHECK(h.cluster.patches.size() == 5);
  CHECK(h.cluster.lists ==
        std::vector<std::string>{"/api/v1/namespaces/ns/secrets?fieldSelector=metadata.name%3Dchanged",
                                 "/api/v1/namespaces/ns/secrets?fieldSelector=metadata.name%3Dassigned"});
  CHECK_FALSE(h.metrics().contains("controller_sharding_move_failures_total{"));
}

TEST_CASE("at most concurrentMoves of a ring are under way, and fewer while the API server is overloaded") {
  Harness h(40);
  h.start({"a", "b"}, 1000);
  h.cluster.refuse = failing("patch", "", 429);
  h.cluster.hold_patches = true;
  h.change_members({"a"});
  CHECK(h.cluster.most_in_flight == 40);
  h.cluster.hold_patches = false;
  h.advance(10s);
  h.cluster.hold_patches = true;
  h.cluster.most_in_flight = 0;
  h.advance(3s);
  CHECK(h.cluster.most_in_flight <= 10);
  CHECK(h.cluster.most_in_flight >= 4);
  h.cluster.refuse = nullptr;
  h.cluster.hold_patches = false;
  h.advance(10s);
  CHECK(h.misplaced() == 0);
}

TEST_CASE("moves that wait for the client's own rate limit do not make the API server look overloaded") {
  Harness h(40);
  h.start({"a", "b"}, 1000);
  h.cluster.hold_patches = true;
  h.change_members({"a"});
  h.advance(3s);
  REQUIRE(h.cluster.most_in_flight == 40);
  for (const FakeApi::Pending& pending : h.api.pending) {
    CHECK(pending.request.still_wanted());  // they are sent now
  }
  int answered = 0;
  h.cluster.refuse = [&](const FakeCluster::Call& call) -> std::optional<apiserver::Status> {
    if (call.route.verb == "patch" && ++answered == 40) {
      h.cluster.hold_patches = true;  // the next ones
      h.cluster.most_in_flight = 0;
    }
    return std::nullopt;
  };
  h.cluster.hold_patches = false;
  h.advance(1s);
  REQUIRE(answered == 40);
  CHECK(h.cluster.most_in_flight == 40);
}

TEST_CASE(
    "an object that cannot be patched is tried again with growing pauses, with one Event; others are not held up") {
  Harness h;
  h.cluster.refuse = failing_patches("bad", 422, "denied by a policy");
  h.start({"a", "b"});
  h.add_secret("bad");
  h.add_secret("good");
  h.advance(100ms);
  CHECK(h.labels("good").value(kShard, "") == h.owner("good"));
  h.advance(1min);
  const auto tries = [&] {
    return std::ranges::count_if(h.cluster.patches, [](const auto& patch) { return patch.object == "ns/bad"; });
  };
  const auto in_first_minute = tries();
  CHECK(in_first_minute >= 4);
  CHECK(in_first_minute <= 8);
  h.advance(10min, 1s);
  CHECK(tries() - in_first_minute <= 8);
  CHECK(h.reasons() == std::vector<std::string>{"MoveFailed"});
  CHECK(h.cluster.events.front()["message"].get<std::string>() ==
        "Cannot move secrets ns/bad: PATCH /api/v1/namespaces/ns/secrets/bad: 422 Unprocessable Content: denied by a "
        "policy");
  CHECK(
      h.has_metric("controller_sharding_move_failures_total{controllerring=\"ring\",group=\"\",reason=\"invalid\","
                   "resource=\"secrets\"} " +
                   std::to_string(tries())));
  h.cluster.refuse = nullptr;
  h.advance(6min, 1s);
  CHECK(h.misplaced() == 0);
}

TEST_CASE("of thousands of objects that cannot be patched, a few are named each minute") {
  Harness h;
  h.cluster.refuse = failing("patch", "secrets", 422, "denied by a policy");
  h.start({"a", "b"});
  for (int number = 0; number < 2000; ++number) {
    h.add_secret("s-" + std::to_string(number));
  }
  const auto lines_with = [&](std::string_view text) {
    int count = 0;
    for (auto at = h.lines->find(text); at != std::string::npos; at = h.lines->find(text, at + 1)) {
      ++count;
    }
    return count;
  };
  h.advance(40s);
  CHECK(lines_with("an object cannot be moved") == 10);
  CHECK(lines_with("none is named") == 1);
  CHECK(h.misplaced() == 2000);
  h.advance(30s);
  for (int number = 0; number < 100; ++number) {
    h.add_secret("t-" + std::to_string(number));
  }
  h.advance(20s);
  CHECK(lines_with("an object cannot be moved") == 20);
  CHECK(lines_with("none is named") == 2);
  h.cluster.refuse = nullptr;
  h.advance(6min, 1s);
  CHECK(h.misplaced() == 0);
}

TEST_CASE("a tool that strips the shard label again and again is no hot loop, and gets an Event") {
  Harness h;
  h.start({"a", "b"});
  for (int round = 0; round < 1200; ++round) {
    if (!h.cluster.find(kSecrets, "ns/x") || h.labels("x").contains(kShard)) {
      h.add_secret("x");
    }
    h.advance(50ms);
  }
  CHECK(h.cluster.patches.size() >= 5);
  CHECK(h.cluster.patches.size() <= 9);  // in a minute
  CHECK(h.reasons() == std::vector<std::string>{"LabelsDoNotLast"});
}

TEST_CASE("patches that are not permitted are reported with verb and resource, until they are permitted") {
  Harness h;
  h.cluster.refuse = failing("patch", "", 403, R"(User "x" cannot patch resource "secrets" in API group "")");
  h.start({"a", "b"});
  h.add_secret("x");
  h.add_secret("y");
  h.advance(4s);
  CHECK_FALSE(h.trouble);  // an API server that has just started says so too
  h.advance(4s);
  REQUIRE(h.trouble);
  CHECK(h.trouble->starts_with("not allowed to patch secrets: "));
  CHECK(h.cluster.patches.size() <= 20);
  h.cluster.refuse = nullptr;
  h.advance(1min);
  CHECK(h.misplaced() == 0);
  CHECK_FALSE(h.trouble);
}

TEST_CASE("lists that are not permitted are reported, and the other resources go on") {
  Harness h;
  h.cluster.refuse = failing("list watch", "secrets", 403);
  h.cluster.put(
      kConfigMaps, "ns", "owned", json::object(),
      json::array({{{"apiVersion", "v1"}, {"kind", "Secret"}, {"name", "m"}, {"uid", "1"}, {"controller", true}}}));
  h.start({"a", "b"});
  CHECK_FALSE(h.trouble);
  h.advance(15s);
  REQUIRE(h.trouble);
  CHECK(h.trouble->starts_with("not allowed to list secrets: "));
  CHECK(h.cluster.labels(kConfigMaps, "ns/owned").value(kShard, "") == h.owner("m"));
  h.cluster.refuse = failing("watch", "secrets", 403);
  h.advance(3min);
  CHECK_FALSE(h.trouble);
}

TEST_CASE("what drains is counted as long as something does, or may do, by no watch that stays") {
  Harness h;
  const auto counts = [&] {
    return std::ranges::count_if(h.api.streams, [](const auto& stream) {
      return stream->request.target.starts_with(kSecrets) && stream->request.target.contains("labelSelector=drain");
    });
  };
  h.start({"a", "b"});
  CHECK(counts() == 1);
  h.advance(1min);
  CHECK(counts() == 1);
  // Our own drains, and what others label so, which a pass shows.
  const std::string draining =
      R"(controller_sharding_draining_objects{controllerring="ring",group="",resource="secrets"} )";
  h.add_secret("x", {{kShard, h.owner("x") == "a" ? "b" : "a"}, {kDrain, "true"}});
  h.advance(5min);
  CHECK(h.has_metric(draining + "1"));
  const auto before = counts();
  h.advance(1min);
  CHECK(h.has_metric(draining + "1"));
  CHECK(counts() >= before + 11);
  CHECK(counts() <= before + 13);
  h.acknowledge("x");
  h.advance(10s);
  CHECK(h.has_metric(draining + "0"));
  const auto after = counts();
  h.advance(1min);
  CHECK(counts() <= after + 1);
  CHECK(std::ranges::none_of(h.api.streams, [](const auto& stream) {
    return !stream->cancelled && stream->request.target.contains("labelSelector=drain");
  }));
}

TEST_CASE("that a watch is not permitted is logged once, and passes find what has to move (design, 5)") {
  Harness h;
  h.cluster.refuse = failing("watch", "secrets", 403);
  h.start({"a", "b"}, 100);
  CHECK_FALSE(h.trouble);
  h.change_members({"a"});
  h.advance(1s);
  CHECK(h.misplaced() == 0);
  h.change_members({"a", "b"});
  h.advance(1s);
  h.change_members({"a"});
  h.advance(1s);
  for (const auto& [name, labels] : h.all_labels()) {
    CHECK(labels.value(kShard, "") != "b");
  }
  h.change_members({"a", "c"});
  h.advance(15s);
  h.acknowledge_all();
  h.advance(6min);
  CHECK(h.misplaced() == 0);
  const std::string text = *h.lines;
  const auto first = text.find("a resource cannot be watched");
  REQUIRE(first != std::string::npos);
  CHECK(text.find("a resource cannot be watched", first + 1) == std::string::npos);
}

TEST_CASE(
    "too many shards for the URL of a watch: it shows those without a label, passes find the others (design, 5)") {
  Harness h;
  h.cluster.refuse = [](const FakeCluster::Call& call) {
    const bool too_long = call.request.parameter("labelSelector").size() > 80;
    return too_long ? std::optional(apiserver::failure(414, "too long")) : std::nullopt;
  };
  std::vector<std::string> shards{"a", "b"};
  for (int shard = 0; shard < 20; ++shard) {
    shards.push_back("shard-" + std::to_string(shard));
  }
  h.members = std::make_shared<const ring::Ring>(shards);
  h.add_assigned(100);
  h.start(shards);
  h.add_secret("none");
  h.advance(100ms);
  CHECK(h.misplaced() == 0);
  shards.erase(shards.begin());
  h.change_members(shards);
  CHECK(h.misplaced() == 0);
  CHECK(h.lines->contains("too many shards for a selector"));
}

TEST_CASE("an API server that has just started permits nothing for a moment: the watches come back (design, 6.7)") {
  Harness h;
  h.cluster.refuse = failing("list watch", "", 403);
  h.start({"a", "b"});
  h.add_secret("x");
  h.advance(2s);
  h.cluster.refuse = nullptr;
  h.advance(5s);
  CHECK(h.misplaced() == 0);
  CHECK_FALSE(h.trouble);
  CHECK_FALSE(h.lines->contains("not allowed"));
  h.add_secret("y");  // shown by the watch
  h.advance(100ms);
  CHECK(h.misplaced() == 0);
}

TEST_CASE("only the selected namespaces count; one that is selected later at once (design, 5)") {
  Harness h;
  h.spec.namespace_selector = ring::LabelSelector{.match_labels = {{"team", "x"}}, .match_expressions = {}};
  h.add_namespace("ns", {{"team", "x"}});
  h.add_namespace("other");
  h.start({"a", "b"});
  h.add_secret("in");
  h.cluster.put(kSecrets, "other", "out", json::object());
  h.cluster.put(kSecrets, "late", "later", json::object());  // its namespace has not been shown yet
  h.advance(6min);
  CHECK(h.labels("in").value(kShard, "") == h.owner("in"));
  CHECK(h.cluster.patches.size() == 1);
  h.add_namespace("other", {{"team", "x"}});
  h.add_namespace("late", {{"team", "x"}});
  h.advance(200ms);
  CHECK(h.cluster.labels(kSecrets, "other/out").contains(kShard));
  CHECK(h.cluster.labels(kSecrets, "late/later").contains(kShard));
  h.add_namespace("ns", {{"team", "y"}});
  h.advance(100ms);
  h.add_secret("in");  // somebody takes the label off; the namespace is not ours any more
  h.advance(6min);
  CHECK_FALSE(h.labels("in").contains(kShard));
}

TEST_CASE("a pass lists the selected namespaces one by one where they are few, else everything") {
  Harness h;
  h.spec.resources = {{.main = {"", "secrets"}, .controlled = {}}};
  h.spec.namespace_selector = ring::LabelSelector{.match_labels = {{"team", "x"}}, .match_expressions = {}};
  h.add_namespace("ns", {{"team", "x"}});
  h.add_namespace("other", {{"team", "x"}});
  h.start({"a", "b"});
  h.cluster.lists.clear();
  h.advance(5min + 1s);
  CHECK(h.cluster.lists == std::vector<std::string>{"/api/v1/namespaces/other/secrets?limit=500",
                                                    "/api/v1/namespaces/ns/secrets?limit=500"});
  for (int number = 0; number < 20; ++number) {
    h.add_namespace("more-" + std::to_string(number), {{"team", "x"}});
  }
  h.advance(1s);
  h.cluster.lists.clear();
  h.advance(5min + 1s);
  CHECK(h.cluster.lists == std::vector<std::string>{"/api/v1/secrets?limit=500"});
}

TEST_CASE("a ring of namespaces selects by their own labels (protocol, 4)") {
  Harness h;
  h.spec.resources = {{.main = {"", "namespaces"}, .controlled = {}}};
  h.start({"a", "b"});
  CHECK(h.cluster.labels(kNamespaces, "ns").value(kShard, "") == *h.members->owner("/Namespace//ns"));
  CHECK_FALSE(h.cluster.labels(kNamespaces, "kube-system").contains(kShard));
}

TEST_CASE("a change of the spec takes effect at once; what leaves the ring keeps its labels (protocol, 6)") {
  Harness h;
  h.start({"a", "b"});
  const json owners =
      json::array({{{"apiVersion", "v1"}, {"kind", "Secret"}, {"name", "m"}, {"uid", "1"}, {"controller", true}}});
  h.cluster.put(kConfigMaps, "ns", "cm", json::object(), owners);
  h.advance(100ms);
  CHECK(h.cluster.labels(kConfigMaps, "ns/cm").contains(kShard));
  h.spec.resources = {{.main = {"", "secrets"}, .controlled = {}}};
  h.change_spec();
  h.cluster.patches.clear();
  h.cluster.put(kConfigMaps, "ns", "cm", {{kShard, "gone"}}, owners);
  h.advance(6min);
  CHECK(h.cluster.patches.empty());
  CHECK_FALSE(h.metrics().contains("pending_moves{controllerring=\"ring\",group=\"\",resource=\"configmaps\"}"));
  h.spec.resources = {{.main = {"", "secrets"}, .controlled = {{"", "configmaps"}}}};
  h.change_spec();
  CHECK(h.cluster.labels(kConfigMaps, "ns/cm").value(kShard, "") == h.owner("m"));
}

TEST_CASE("a ring that is deleted, or is being deleted, is left alone with its objects") {
  Harness h;
  h.start({"a", "b"});
  SUBCASE("gone") {
    h.rebalancer->on_ring_removed("ring");
  }
  SUBCASE("with a finalizer") {
    h.deleting = true;
    h.change_spec();
  }
  SUBCASE("we lead no more") {
    CHECK_FALSE(h.leader_work.wait_for(0s));
    h.rebalancer->on_leading(false);
    CHECK(h.leader_work.wait_for(0s));
  }
  h.add_secret("x");
  h.advance(11min, 1s);
  CHECK(h.cluster.patches.empty());
  CHECK_FALSE(h.metrics().contains("controller_sharding_pending_moves{"));
}

TEST_CASE("a patch that is under way when the leadership ends is waited for, and counted") {
  Harness h;
  h.start({"a"});
  h.cluster.hold_patches = true;
  h.add_secret("x");
  h.advance(100ms);
  h.rebalancer->on_leading(false);
  h.advance(100ms);
  CHECK_FALSE(h.leader_work.wait_for(0s));
  h.cluster.hold_patches = false;
  h.advance(100ms);
  CHECK(h.leader_work.wait_for(0s));
  CHECK(h.labels("x").value(kShard, "") == "a");
  CHECK(h.has_metric(R"(controller_sharding_movements_total{controllerring="ring",group="",resource="secrets"} 1)"));
}

TEST_CASE("without a shard nothing is moved; the first one gets everything") {
  Harness h;
  h.add_secret("x");
  h.start({});
  h.add_secret("y", {{kShard, "gone"}});
  h.advance(6min);
  CHECK(h.cluster.patches.empty());
  h.change_members({"a"});
  CHECK(h.misplaced() == 0);
  CHECK(h.cluster.patches.size() == 2);
}

TEST_CASE("an expired continue token goes on with the one that the 410 brings, failures with the same page") {
  Harness h;
  h.members = std::make_shared<const ring::Ring>(std::vector<std::string>{"a", "b"});
  h.add_assigned(1200);
  int pages = 0;
  const std::string token = apiserver::encode({.version = {}, .from = "ns/s-3"});
  h.cluster.refuse = [&](const FakeCluster::Call& call) -> std::optional<apiserver::Status> {
    if (!call.request.target.starts_with("/api/v1/namespaces/ns/secrets?limit=500")) {
      return std::nullopt;
    }
    if (++pages == 2) {
      apiserver::Status expired = apiserver::expired("the token is too old");
      expired.continue_token = token;
      return expired;
    }
    return pages == 3 ? std::optional(apiserver::failure(500, "try again")) : std::nullopt;
  };
  h.start({"a", "b"});
  h.advance(1s);
  CHECK(std::ranges::count(h.cluster.lists, "/api/v1/namespaces/ns/secrets?limit=500") == 1);
  // One failed, one did not.
  CHECK(std::ranges::count(h.cluster.lists, "/api/v1/namespaces/ns/secrets?limit=500&continue=" + token) == 2);
  CHECK(h.lines->contains("pass ended"));
}

TEST_CASE("more objects than there is room for are moved all the same, and never held at once (design, 6.8)") {
  Harness h;
  h.start({"a", "b"}, 10000);
  h.cluster.hold_patches = true;
  h.change_members({"a"});
  h.advance(5s);
  const auto pending = [&] {
    const std::string text = h.metrics();
    const std::string name =
        "\ncontroller_sharding_pending_moves{controllerring=\"ring\",group=\"\",resource=\"secrets\"} ";
    return std::stoul(text.substr(text.find(name) + name.size()));
  };
  CHECK(pending() > 1000);
  CHECK(pending() <= MoveQueue::kCapacity);
  // Shards come and go while a pass waits for room, and while the watch is cut.
  h.change_members({"a", "b", "c"});
  h.advance(5s);
  CHECK(pending() > 1000);
  CHECK(pending() <= MoveQueue::kCapacity);
  h.change_members({"a"});
  h.advance(5s);
  h.cluster.hold_patches = false;
  h.advance(20s);
  CHECK(h.misplaced() == 0);
}

namespace {

auto orphan_watches(const Harness& h) {
  return std::ranges::count_if(h.api.streams, [](const auto& stream) {
    return stream->request.target.contains("/secrets?") && stream->request.target.contains("notin");
  });
}

}  // namespace

TEST_CASE("an orphan watch that has shown more than there is room for is cut until there is room") {
  Harness h;
  h.start({"a", "b"}, 2500);
  h.advance(15s);
  const auto before = orphan_watches(h);
  h.change_members({"a"});
  h.advance(5s);
  CHECK(h.misplaced() == 0);
  CHECK(orphan_watches(h) == before + 2);  // with the new members, and when there was room
  h.add_secret("late");
  h.advance(100ms);
  CHECK(h.misplaced() == 0);
  CHECK(orphan_watches(h) == before + 2);
}

TEST_CASE("an orphan watch stays while many objects drain") {
  Harness h;
  h.start({"a", "b"}, 5000);
  h.advance(15s);
  const auto before = orphan_watches(h);
  h.cluster.hold_patches = true;
  h.change_members({"a", "b", "c"});
  h.advance(5s);
  CHECK(orphan_watches(h) == before + 1);
  h.cluster.hold_patches = false;
  h.advance(5s);
  CHECK(std::ranges::count_if(h.cluster.patches, [](const auto& patch) {
          return patch.body["metadata"]["labels"].contains(kDrain);
        }) > 1000);
  CHECK(orphan_watches(h) == before + 1);
}

TEST_CASE("an orphan is found also while a thousand others fail") {
  Harness h;
  h.start({"a", "b"}, 2500);
  h.cluster.refuse = failing_patches("s-", 500, "failed calling webhook");
  h.change_members({"a"});
  h.advance(2s);
  h.add_secret("fresh");
  h.advance(10s);
  CHECK(h.labels("fresh").contains(kShard));
}

TEST_CASE("a watch of namespaces that is not permitted is reported for rings that select by them") {
  Harness h;
  h.cluster.refuse = failing("watch", "namespaces", 403);
  h.add_secret("x");
  h.start({"a", "b"});
  h.advance(10s);
  REQUIRE(h.trouble);
  CHECK(h.trouble->starts_with("not allowed to watch namespaces: "));
  CHECK(h.cluster.patches.empty());
  h.change_spec();
  REQUIRE(h.trouble);
  h.cluster.refuse = nullptr;
  h.advance(5s);
  CHECK_FALSE(h.trouble);
  CHECK(h.misplaced() == 0);
}

TEST_CASE("the leader's report: what passes counted, what drains from where to where; nothing from a standby") {
  Harness h;
  CHECK(h.rebalancer->report().empty());
  h.start({"a", "b"}, 200);
  h.advance(1s);
  auto report = h.rebalancer->report();
  REQUIRE(report.contains("ring"));
  const auto secrets = [&report]() -> const ResourceReport& {
    return *std::ranges::find(report["ring"].resources, "secrets", [](const auto& one) { return one.name.resource; });
  };
  std::map<std::string, std::size_t> owned;
  for (const auto& [name, labels] : h.all_labels()) {
    ++owned[labels.value(kShard, "")];
  }
  REQUIRE(secrets().objects);
  CHECK(secrets().objects->by_shard == owned);
  CHECK(secrets().objects->age >= 1s);
  CHECK(report["ring"].flows.empty());

  h.change_members({"a", "b", "c"});
  h.advance(20s);  // the second pass and a count of drains
  report = h.rebalancer->report();
  std::map<std::pair<std::string, std::string>, std::size_t> drains;
  for (const auto& [name, labels] : h.all_labels()) {
    if (labels.contains(kDrain)) {
      ++drains[{labels.value(kShard, ""), labels.value(kDrain, "")}];
    }
  }
  REQUIRE(drains.size() == 2);
  CHECK(report["ring"].flows.size() == drains.size());
  for (const auto& [between, count] : drains) {
    CHECK(report["ring"].flows[between] == Flow{.pending = 0, .draining = count});
  }
  CHECK(secrets().draining == static_cast<std::size_t>(h.misplaced()));
  CHECK(secrets().carried_out == secrets().draining);
  CHECK(secrets().objects->by_shard == owned);

  h.rebalancer->on_leading(false);
  CHECK(h.rebalancer->report().empty());
}

TEST_CASE("the report has the moves that wait; objects without a live shard, and those that the ring does not shard") {
  Harness h;
  h.cluster.refuse = failing_patches("s-", 500, "etcd is full");
  h.add_secret("s-orphan", {{kShard, "gone"}});
  h.add_secret("s-new");
  h.start({"a"});
  h.advance(1s);
  auto report = h.rebalancer->report();
  const auto& flows = report["ring"].flows;
  REQUIRE(flows.size() == 2);
  CHECK(flows.at({"gone", "a"}) == Flow{.pending = 1, .draining = 0});
  CHECK(flows.at({"", "a"}) == Flow{.pending = 1, .draining = 0});
  const auto secrets =
      std::ranges::find(report["ring"].resources, "secrets", [](const auto& one) { return one.name.resource; });
  CHECK(secrets->pending == 2);
  REQUIRE(secrets->objects);
  CHECK(secrets->objects->by_shard == std::map<std::string, std::size_t>{{"", 2}});
}
