#include <doctest/doctest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "tests/unit/rebalancer/harness.h"

// What the leader counts of objects that are not where they should be (docs/decisions/0010-audit.md).
using namespace sharder;
using namespace sharder::rebalancer;
using namespace sharder::testing;
using namespace std::chrono_literals;
using nlohmann::json;

namespace {

struct Audit : Harness {
  // A gauge of Secrets; nullopt: it is not exported.
  std::optional<double> gauge(const std::string& name, const std::string& more_labels = "") const {
    const std::string text = "\n" + metrics();
    const std::string series = "\ncontroller_sharding_" + name +
                               "{controllerring=\"ring\",group=\"\",resource=\"secrets\"" + more_labels + "} ";
    const auto at = text.find(series);
    return at == std::string::npos ? std::nullopt : std::optional(std::stod(text.substr(at + series.size())));
  }
  std::optional<double> unassigned() const { return gauge("unassigned_objects"); }
  std::optional<double> misplaced_objects() const { return gauge("misplaced_objects"); }
  std::string example() const { return rebalancer->report("ring").value().front().unassigned.value().example; }

  void forbid_patches() { cluster.refuse = failing("patch", "secrets", 403, "cannot patch resource"); }
  void allow_all() { cluster.refuse = nullptr; }
  void add_orphans(int count, const std::string& prefix = "o-") {
    for (int number = 0; number < count; ++number) {
      add_secret(prefix + std::to_string(number));
    }
  }
  // Somebody else gives an object the shard on which it belongs.
  void repair(const std::string& name) { add_secret(name, {{kShard, owner(name)}}); }
  int with_label(const std::string& shard) const {
    int count = 0;
    for (const auto& [name, found] : all_labels()) {
      count += found.value(kShard, "") == shard ? 1 : 0;
    }
    return count;
  }
};

}  // namespace

TEST_CASE("unassigned objects are counted within 5 s, also when they may not be moved, with age and example") {
  Audit a;
  a.start({"a", "b"}, 20);
  a.advance(5s);
  CHECK(a.unassigned() == 0);
  CHECK(a.gauge("oldest_unassigned_seconds") == 0);
  a.forbid_patches();
  a.add_secret("none");
  a.advance(5s);
  CHECK(a.unassigned() == 1);
  CHECK(a.example() == "ns/none");
  a.add_secret("empty", {{kShard, ""}});
  a.add_secret("never-was", {{kShard, "never-was"}});
  a.cluster.put(kSecrets, "kube-system", "not-selected", json::object());
  a.advance(5s);
  CHECK(a.unassigned() == 3);
  a.advance(10min);  // passes, syncs, moves that are dropped: nothing of it changes the number
  CHECK(a.unassigned() == 3);
  CHECK(a.gauge("oldest_unassigned_seconds").value() == doctest::Approx(605).epsilon(0.02));
  CHECK(a.example() == "ns/none");
  a.repair("none");
  a.cluster.remove(kSecrets, "ns/empty");
  a.advance(5s);
  CHECK(a.unassigned() == 1);
  CHECK(a.example() == "ns/never-was");
  a.allow_all();
  a.advance(6min);
  CHECK(a.unassigned() == 0);
}

TEST_CASE("before anything is counted there is no series, and none is left when the leadership has ended") {
  Audit a;
  a.cluster.refuse = failing("list watch", "secrets", 503);
  a.start({"a", "b"}, 20);
  a.advance(5s);
  CHECK_FALSE(a.unassigned());
  CHECK_FALSE(a.misplaced_objects());
  CHECK_FALSE(a.gauge("last_pass_timestamp_seconds"));
  a.allow_all();
  a.advance(30s);
  CHECK(a.unassigned() == 0);
  CHECK(a.misplaced_objects() == 0);
  CHECK(a.gauge("last_pass_timestamp_seconds").has_value());
  a.rebalancer->on_leading(false);
  CHECK_FALSE(a.metrics().contains("unassigned_"));
  CHECK_FALSE(a.metrics().contains("misplaced_"));
  CHECK_FALSE(a.metrics().contains("controller_sharding_objects{"));
  CHECK_FALSE(a.metrics().contains("last_pass"));
}

TEST_CASE("more unassigned objects than there is room for are counted by lists, with new ones among them") {
  Audit a;
  a.start({"a", "b"});
  a.cluster.hold_patches = true;
  a.add_orphans(6000);
  a.advance(10s);
  CHECK(a.unassigned() == 6000);
  a.add_orphans(10, "late-");
  a.advance(10s);
  CHECK(a.unassigned() == 6010);
  a.cluster.hold_patches = false;
  a.advance(20s);
  CHECK(a.unassigned() == 0);
}

TEST_CASE("past what is kept, objects that change do not count twice, and the number follows what is repaired") {
  Audit a;
  a.start({"a", "b"});
  a.forbid_patches();
  a.add_orphans(2500);
  a.advance(20s);
  CHECK(a.unassigned() == 2500);
  for (int number = 0; number < 2500; number += 5) {
    a.add_secret("o-" + std::to_string(number), {{"changed", "yes"}});
  }
  a.advance(10s);
  CHECK(a.unassigned() == 2500);
  for (int number = 0; number < 2500; number += 2) {
    a.repair("o-" + std::to_string(number));
  }
  a.advance(10s);
  CHECK(a.unassigned() == 1250);
}

TEST_CASE("a shard that leaves leaves its objects unassigned as long as they cannot be moved; it returns: none is") {
  Audit a;
  a.start({"a", "b", "c"}, 300);
  a.forbid_patches();
  const int of_b = a.with_label("b");
  a.change_members({"a", "c"});
  a.advance(5s);
  CHECK(a.unassigned() == of_b);
  a.change_members({"a", "b", "c"});
  a.advance(5s);
  CHECK(a.unassigned() == 0);
}

TEST_CASE("without a member all objects of a ring are unassigned") {
  Audit a;
  a.start({"a", "b"}, 50);
  a.advance(5s);
  a.change_members({});
  a.advance(10s);
  CHECK(a.unassigned() == 50);
  a.add_secret("more");
  a.advance(10s);
  CHECK(a.unassigned() == 51);
  a.change_members({"a", "b"});
  a.advance(5s);
  CHECK(a.unassigned() == 0);
}

TEST_CASE("where nothing may be watched, the passes count what is unassigned") {
  Audit a;
  const auto no_watch = failing("watch", "secrets", 403, "cannot watch resource");
  const auto no_patch = failing("patch", "secrets", 403, "cannot patch resource");
  a.cluster.refuse = [=](const FakeCluster::Call& call) {
    const auto refused = no_watch(call);
    return refused ? refused : no_patch(call);
  };
  a.start({"a", "b"}, 20);
  a.add_orphans(7);
  a.advance(6min);
  CHECK(a.unassigned() == 7);
  a.repair("o-1");
  a.advance(5min + 10s);
  CHECK(a.unassigned() == 6);
}

TEST_CASE("without a member, and where nothing may be watched, the passes count what is unassigned") {
  Audit a;
  a.cluster.refuse = failing("watch", "secrets", 403, "cannot watch resource");
  a.start({"a", "b"}, 50);
  a.advance(6min, 500ms);
  CHECK(a.unassigned() == 0);
  a.change_members({});
  a.advance(20s);
  CHECK(a.unassigned() == 50);
  a.add_secret("more");
  a.advance(5min + 20s, 500ms);
  CHECK(a.unassigned() == 51);
  a.change_members({"a", "b"});
  a.advance(20s);
  CHECK(a.unassigned() == 0);
}

TEST_CASE("a namespace that is selected later: its objects are counted; and not any more when it is not") {
  Audit a;
  a.spec.namespace_selector = ring::LabelSelector{.match_labels = {{"sharded", "yes"}}, .match_expressions = {}};
  a.start({"a", "b"});
  a.forbid_patches();
  a.add_orphans(5);
  a.advance(10s);
  CHECK(a.unassigned() == 0);
  a.add_namespace("ns", {{"sharded", "yes"}});
  a.advance(10s);
  CHECK(a.unassigned() == 5);
  a.add_namespace("ns");
  a.advance(10s);
  CHECK(a.unassigned() == 0);
}

TEST_CASE("misplaced are those that a pass finds on another member, until they drain; failed moves leave them so") {
  Audit a;
  a.start({"a", "b"}, 200);
  a.advance(5s);
  CHECK(a.misplaced_objects() == 0);
  a.forbid_patches();
  a.change_members({"a", "b", "c"});
  a.advance(5s);
  const int wrong = a.misplaced();
  REQUIRE(wrong > 30);
  CHECK(a.misplaced_objects() == wrong);
  CHECK(a.unassigned() == 0);
  for (int minute = 0; minute < 12; ++minute) {  // also while passes run, again and again
    a.advance(1min, 500ms);
    CHECK(a.misplaced_objects() == wrong);
  }
  CHECK(a.gauge("oldest_misplaced_seconds").value() == doctest::Approx(725).epsilon(0.02));
  a.allow_all();
  a.advance(6min, 500ms);
  CHECK(a.misplaced_objects() == 0);
  CHECK(a.gauge("oldest_misplaced_seconds") == 0);
  CHECK(a.gauge("draining_objects") == wrong);  // they are counted there now
}

TEST_CASE("more misplaced objects than there is room for: while the pass waits, as many as it has seen") {
  Audit a;
  a.start({"a", "b"}, 6000);
  a.cluster.hold_patches = true;
  a.change_members({"a", "b", "c"});
  a.advance(15s);
  CHECK(a.misplaced_objects().value() > 1000);
  CHECK(a.gauge("oldest_misplaced_seconds").value() > 5);
  a.advance(5min, 500ms);
  CHECK(a.misplaced_objects().value() > 1000);
  CHECK(a.gauge("oldest_misplaced_seconds").value() > 300);
  a.cluster.hold_patches = false;
  a.advance(1min);
  CHECK(a.misplaced_objects() == 0);
}

TEST_CASE("the objects of a cordoned shard are misplaced until they drain, and never unassigned") {
  Audit a;
  a.start({"a", "b", "c"}, 200);
  a.forbid_patches();
  a.cordoned = {"b"};
  a.change_members({"a", "c"});
  a.advance(5s);
  CHECK(a.unassigned() == 0);
  CHECK(a.misplaced_objects() == a.with_label("b"));
  CHECK(a.gauge("objects", ",shard=\"b\"") == a.with_label("b"));
}

TEST_CASE("a label that somebody sets to another member is seen by the next pass") {
  Audit a;
  a.start({"a", "b"}, 20);
  a.forbid_patches();
  const std::string other = a.owner("s-1") == "a" ? "b" : "a";
  a.add_secret("s-1", {{kShard, other}});
  a.advance(5min + 20s, 500ms);
  CHECK(a.misplaced_objects() == 1);
  a.add_secret("s-1", {{kShard, other}, {kDrain, a.owner("s-1")}});
  a.advance(5min + 20s, 500ms);
  CHECK(a.misplaced_objects() == 0);
}

TEST_CASE("the objects of each member are counted by each pass; a shard that has left has no series") {
  Audit a;
  a.start({"a", "b"}, 100);
  a.advance(1s);
  const auto objects = [&a](const std::string& shard) { return a.gauge("objects", ",shard=\"" + shard + "\""); };
  CHECK(objects("a") == a.with_label("a"));
  CHECK(objects("b") == a.with_label("b"));
  const double ended = a.gauge("last_pass_timestamp_seconds").value();
  a.change_members({"b", "c"});
  a.advance(12s);
  CHECK(a.gauge("last_pass_timestamp_seconds").value() > ended);
  CHECK_FALSE(objects("a"));
  CHECK(objects("b") == a.with_label("b"));
  CHECK(objects("c") == a.with_label("c"));
  a.change_members({"b", "c", "d-without-objects-yet"});
  a.advance(1s);
  CHECK(objects("d-without-objects-yet") == 0);
}

TEST_CASE("each pass over a resource counts as a reconciliation of the Go sharder's controller, by its result") {
  Audit a;
  const auto passes = [&a](const std::string& result) {
    const std::string series =
        "\ncontroller_runtime_reconcile_total{controller=\"sharder\",result=\"" + result + "\"} ";
    const std::string text = a.metrics();
    return std::stoi(text.substr(text.find(series) + series.size()));
  };
  CHECK(passes("requeue_after") == 0);
  a.start({"a", "b"}, 5);
  CHECK(passes("requeue_after") == 2);  // Secrets and ConfigMaps
  CHECK(passes("error") == 0);
  a.cluster.refuse = failing("list", "secrets", 403, "cannot list resource");
  a.advance(5min + 10s);
  CHECK(passes("error") > 0);
  CHECK(passes("requeue_after") == 3);
}
