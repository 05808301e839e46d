// One resource that is in trouble holds up no other, and what is in trouble comes back by itself (design, 6.7 and 6.9).
#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <regex>

#include "tests/unit/rebalancer/harness.h"

using namespace sharder;
using namespace sharder::testing;
using namespace std::chrono_literals;
using nlohmann::json;

namespace {

using Troubles = std::map<std::string, std::string>;

constexpr const char* kDefinition = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/things.g";

// The resource "things" of the group "g" is served in this version, and in no other.
void serve_things(Harness& h, const std::string& version) {
  const json definition{{"apiVersion", "apiextensions.k8s.io/v1"},
                        {"kind", "CustomResourceDefinition"},
                        {"metadata", {{"name", "things.g"}}},
                        {"spec",
                         {{"group", "g"},
                          {"scope", "Namespaced"},
                          {"names", {{"plural", "things"}, {"kind", "Thing"}}},
                          {"versions", json::array({{{"name", version}, {"served", true}, {"storage", true}}})}}}};
  apiserver::Request apply = apiserver::request_to("PATCH", std::string(kDefinition) + "?fieldManager=test");
  apply.content_type = "application/apply-patch+yaml";
  apply.body = definition.dump();
  REQUIRE(h.cluster.server.handle(apply).code <= 201);
}

// Lists and watches of a resource so far.
std::size_t reads(const Harness& h, const std::string& resource) {
  const auto is_read = [&](const std::string& target) { return target.contains("/" + resource + "?"); };
  const auto streams =
      std::ranges::count_if(h.api.streams, [&](const auto& stream) { return is_read(stream->request.target); });
  return streams + std::ranges::count_if(h.cluster.lists, is_read);
}

}  // namespace

TEST_CASE("a webhook that fails for one resource does not hold up another's moves and passes, and is reported once") {
  Harness h;
  h.spec.resources = {{.main = {"", "secrets"}, .controlled = {}}, {.main = {"", "configmaps"}, .controlled = {}}};
  h.cluster.refuse = failing("patch", "configmaps", 500, "failed calling webhook");
  h.members = std::make_shared<const ring::Ring>(std::vector<std::string>{"a", "b"});
  h.add_assigned(100);
  for (int number = 0; number < 5000; ++number) {
    h.cluster.put(kConfigMaps, "ns", "c-" + std::to_string(number), json::object());
  }
  h.start({"a", "b"});
  h.advance(20s, 500ms);
  CHECK(h.reasons() == std::vector<std::string>{"MoveFailed"});
  CHECK(h.lines->contains("objects of a resource cannot be moved"));
  CHECK(h.troubles.size() == 1);
  CHECK(std::regex_match(h.troubles["patch configmaps"],
                         std::regex("cannot patch configmaps: PATCH /api/v1/namespaces/ns/configmaps/c-[0-9]+: 500 "
                                    "Internal Server Error: failed calling webhook")));
  h.add_secret("new");  // the watch shows it
  h.advance(1s);
  CHECK(h.labels("new").value(kShard, "") == h.owner("new"));
  h.change_members({"b"});
  h.advance(1s);
  CHECK(h.misplaced() == 0);
  h.change_members({"b", "c"});  // a pass finds what has to be drained
  h.advance(5s, 500ms);
  // Only the further pass 10 s after a change finds this; by then the others' moves are many again.
  h.add_secret("wrong", {{kShard, h.owner("wrong") == "b" ? "c" : "b"}});
  h.advance(10s, 500ms);
  for (const auto& [name, labels] : h.all_labels()) {
    CHECK(labels.contains(kDrain) == (labels.value(kShard, "") != h.owner(name)));
  }
  CHECK(h.told == 1);
  h.cluster.refuse = nullptr;
  h.advance(2min, 500ms);
  for (const auto& [name, labels] : h.all_labels(kConfigMaps)) {
    CHECK(labels.contains(kShard));
  }
  CHECK(h.troubles.empty());
}

TEST_CASE("a resource that cannot be listed keeps no other from its passes and syncs") {
  Harness h;
  h.spec.resources = {{.main = {"", "secrets"}, .controlled = {}}, {.main = {"", "configmaps"}, .controlled = {}}};
  SUBCASE("the server fails") {
    h.cluster.refuse = failing("list", "secrets", 500);
  }
  SUBCASE("it is not permitted") {
    h.cluster.refuse = failing("list", "secrets", 403);
  }
  h.start({"a", "b"});
  h.advance(1min, 1s);
  for (int round = 0; round < 2; ++round) {
    // Only a pass finds this, and only a sync makes one.
    const std::string name = "left-over-" + std::to_string(round);
    const std::string owner(h.members->owner("/ConfigMap/ns/" + name).value());
    h.cluster.put(kConfigMaps, "ns", name, {{kShard, owner}, {kDrain, "true"}});
    h.advance(6min, 1s);
    CHECK(h.cluster.labels(kConfigMaps, "ns/" + name) == json{{kShard, owner}});
  }
}

TEST_CASE("a resource that is served in another version is found there") {
  Harness h;
  serve_things(h, "v1beta1");
  h.spec.resources = {{.main = {"g", "things"}, .controlled = {}}};
  h.cluster.put("/apis/g/v1beta1/things", "ns", "x", json::object());
  h.start({"a", "b"});
  CHECK(h.cluster.labels("/apis/g/v1beta1/things", "ns/x").contains(kShard));
  serve_things(h, "v1");
  REQUIRE(h.cluster.server.handle(apiserver::request_to("GET", "/apis/g/v1beta1/things")).code == 404);
  h.cluster.put("/apis/g/v1/things", "ns", "x", {{kShard, "a"}});
  h.cluster.put("/apis/g/v1/things", "ns", "y", {{kShard, "b"}});
  h.change_members({"b"});
  h.advance(10s);
  CHECK(h.cluster.labels("/apis/g/v1/things", "ns/x") == json{{kShard, "b"}});
  h.cluster.put("/apis/g/v1/things", "ns", "z", json::object());
  h.advance(100ms);
  CHECK(h.cluster.labels("/apis/g/v1/things", "ns/z") == json{{kShard, "b"}});
}

TEST_CASE("a patch that waits in the client is not sent any more when its ring is past (design, 5)") {
  Harness h;
  h.cluster.hold_patches = true;
  h.start({"a", "b"});
  h.add_secret("x");
  h.advance(100ms);
  const auto is_patch = [](const FakeApi::Pending& pending) { return pending.request.method == kube::Method::kPatch; };
  const auto first = std::ranges::find_if(h.api.pending, is_patch);
  REQUIRE(first != h.api.pending.end());
  const auto still_wanted = first->request.still_wanted;
  REQUIRE(still_wanted);
  CHECK(still_wanted());
  h.change_members({"a", "b", "c"});
  CHECK_FALSE(still_wanted());
  h.cluster.hold_patches = false;
  h.advance(1s);
  CHECK(h.misplaced() == 0);
}

TEST_CASE("a pass whose moves are slow keeps its place; one whose moves are stuck gives way to the next") {
  Harness h;
  h.spec.resources = {{.main = {"", "secrets"}, .controlled = {}}, {.main = {"", "configmaps"}, .controlled = {}}};
  h.start({"a", "b"}, 6000);
  int budget = 0;
  h.cluster.refuse = [&](const FakeCluster::Call& call) {
    return call.route.verb == "patch" && budget-- <= 0 ? std::optional(apiserver::failure(503, "later")) : std::nullopt;
  };
  h.cluster.lists.clear();
  h.change_members({"a", "b", "c"});  // some 2,000 have to be drained
  const auto begun = [&](const std::string& resource) {
    return std::ranges::count(h.cluster.lists, "/api/v1/namespaces/ns/" + resource + "?limit=500");
  };
  for (int second = 0; second < 9; ++second) {
    budget = 4;
    h.advance(1s, 250ms);
  }
  CHECK(begun("secrets") == 1);
  CHECK(begun("configmaps") == 0);
  budget = 0;
  h.advance(30s, 250ms);  // with the further pass 10 s after the change
  CHECK(begun("configmaps") >= 1);
  h.cluster.refuse = nullptr;
  h.advance(1min, 500ms);
  for (const auto& [name, labels] : h.all_labels()) {
    CHECK(labels.contains(kDrain) == (labels.value(kShard, "") != h.owner(name)));
  }
}

TEST_CASE(
    "patches that are not permitted are tried with growing pauses, and reported only while something has to move") {
  Harness h;
  h.cluster.refuse = failing("patch", "", 403, "cannot patch resource");
  h.start({"a", "b"});
  h.add_secret("x");
  h.advance(15s);
  REQUIRE(h.trouble);
  h.cluster.lists.clear();
  h.advance(4min, 1s);
  CHECK(h.trouble);
  CHECK(h.cluster.lists.size() <= 6);
  h.cluster.remove(kSecrets, "ns/x");
  h.advance(6min, 1s);
  CHECK_FALSE(h.trouble);
}

TEST_CASE("a resource with a lasting failure is reported once, tried with growing pauses, and holds up no other") {
  Harness h;
  h.spec.resources = {{.main = {"", "secrets"}, .controlled = {}}, {.main = {"", "configmaps"}, .controlled = {}}};
  h.cluster.refuse = failing("list watch", "secrets", 500, "conversion webhook failed");
  h.add_secret("x");
  h.start({"a", "b"});
  h.advance(8s);
  CHECK(h.troubles.empty());
  h.advance(12s);
  CHECK(h.troubles == Troubles{{"list secrets",
                                "cannot list secrets: GET /api/v1/namespaces/ns/secrets: 500 Internal Server Error: "
                                "conversion webhook failed"},
                               {"watch secrets",
                                "cannot watch secrets: list and watch secrets: GET /api/v1/secrets: 500 Internal "
                                "Server Error: conversion webhook failed"}});
  h.cluster.put(kConfigMaps, "ns", "y", json::object());
  h.advance(100ms);
  CHECK(h.cluster.labels(kConfigMaps, "ns/y").contains(kShard));
  h.advance(2min, 500ms);
  const auto before = reads(h, "secrets");
  h.advance(10min, 500ms);
  CHECK(reads(h, "secrets") <= before + 40);  // passes, syncs of what drains, and the watch with a list behind it
  CHECK(h.told == 2);
  h.cluster.refuse = nullptr;
  h.advance(2min, 500ms);
  CHECK(h.troubles.empty());
  CHECK(h.misplaced() == 0);
  h.add_secret("z");  // the watch shows it
  h.advance(100ms);
  CHECK(h.misplaced() == 0);
}

TEST_CASE("a resource without lists and watches is reported, and its watch given up") {
  Harness h;
  h.cluster.refuse = failing("list watch", "secrets", 405, "not allowed on this resource");
  h.start({"a", "b"});
  h.advance(15s);
  CHECK(h.troubles == Troubles{{"list secrets",
                                "cannot list secrets: GET /api/v1/namespaces/ns/secrets: 405 Method Not Allowed: not "
                                "allowed on this resource"}});
  const auto before = reads(h, "secrets");
  h.advance(10min, 500ms);
  CHECK(reads(h, "secrets") <= before + 25);  // passes, and what each sync tries again
  CHECK(h.told == 1);
}

TEST_CASE("a resource that is deleted is reported within seconds, and works again when it returns") {
  Harness h;
  constexpr const char* kThings = "/apis/g/v1/things";
  serve_things(h, "v1");
  h.spec.resources = {{.main = {"g", "things"}, .controlled = {}}};
  h.start({"a", "b"});
  h.advance(1min);
  REQUIRE(h.cluster.server.handle(apiserver::request_to("DELETE", kDefinition)).code == 200);
  for (const auto& stream : h.api.streams) {
    if (!stream->cancelled && stream->request.target.starts_with(kThings)) {
      stream->cancelled = true;
      stream->sink->on_close(std::nullopt);
    }
  }
  h.advance(10s);
  CHECK(h.troubles == Troubles{{"watch things.g",
                                "cannot watch things.g: list and watch things.g: GET /apis/g/v1/things: 404 Not Found: "
                                "the server could not find the requested resource"}});
  h.advance(1min);
  const auto before = h.api.streams.size();
  h.advance(10min, 500ms);
  CHECK(h.api.streams.size() <= before + 20);
  serve_things(h, "v1");
  h.cluster.put(kThings, "ns", "x", json::object());
  h.advance(61s);
  CHECK(h.cluster.labels(kThings, "ns/x").contains(kShard));
  h.advance(10s);
  CHECK(h.troubles.empty());
}

TEST_CASE("a watch that opens and fails at once, again and again, is reported") {
  Harness h;
  h.start({"a", "b"});
  for (int step = 0; step < 300; ++step) {
    for (const auto& stream : h.api.streams) {
      if (!stream->cancelled && stream->request.target.starts_with(std::string(kSecrets) + "?")) {
        stream->cancelled = true;
        stream->sink->on_close(Error{.code = ErrorCode::kUnavailable, .message = "500", .http_status = 500});
      }
    }
    h.advance(100ms);
  }
  CHECK(h.troubles.contains("watch secrets"));
  h.advance(2min, 500ms);
  CHECK(h.troubles.empty());
}

TEST_CASE("an outage of the API server is no resource's failure, and nothing waits for long when it is over") {
  Harness h;
  h.start({"a", "b"});
  int status = 0;
  SUBCASE("nobody answers") {}
  SUBCASE("a load balancer answers in its place") {
    status = 502;
  }
  const bool is_told = status != 0;
  h.cluster.refuse = failing("list watch", "", status);
  for (const auto& stream : h.api.streams) {
    if (!stream->cancelled) {
      stream->cancelled = true;
      stream->sink->on_close(Error{.code = ErrorCode::kUnavailable, .message = "", .http_status = status});
    }
  }
  h.advance(10min, 500ms);
  CHECK(h.troubles.empty() != is_told);
  h.cluster.refuse = nullptr;
  h.add_secret("x");
  h.advance(7s);
  CHECK(h.misplaced() == 0);
  h.advance(10s);
  CHECK(h.troubles.empty());
}

TEST_CASE("what failed for long is over when it works again, also in a ring that has lost its last member meanwhile") {
  Harness h;
  h.start({"a", "b"}, 20);
  h.cluster.refuse = failing("list watch patch", "secrets", 500, "conversion webhook failed");
  h.add_secret("x");
  for (const auto& stream : h.api.streams) {
    if (!stream->cancelled && stream->request.target.starts_with(std::string(kSecrets) + "?")) {
      stream->cancelled = true;
      stream->sink->on_close(Error{.code = ErrorCode::kUnavailable, .message = "500", .http_status = 500});
    }
  }
  h.change_members({"a", "b", "c"});  // that takes a pass
  h.advance(30s);
  CHECK(h.troubles.contains("list secrets"));
  CHECK(h.troubles.contains("watch secrets"));
  h.change_members({});
  h.cluster.refuse = nullptr;
  h.advance(3min, 500ms);
  CHECK(h.troubles.empty());
}

TEST_CASE("a moment in which patches are not permitted does not end the report of objects that fail for long") {
  Harness h;
  bool forbidden = false;
  h.cluster.refuse = [&](const FakeCluster::Call& call) -> std::optional<apiserver::Status> {
    if (call.route.verb != "patch") {
      return std::nullopt;
    }
    if (forbidden) {
      return apiserver::failure(403, "cannot patch resource");
    }
    return call.route.name == "fails" ? std::optional(apiserver::failure(500, "failed calling webhook")) : std::nullopt;
  };
  h.start({"a", "b"});
  h.add_secret("fails");
  h.advance(1min);
  REQUIRE(h.troubles.contains("patch secrets"));
  const Troubles before = h.troubles;
  forbidden = true;
  h.add_secret("x");
  h.advance(500ms);
  forbidden = false;
  h.advance(5s);
  CHECK(h.labels("x").contains(kShard));
  CHECK(h.troubles == before);
  CHECK(h.told == 1);
}

TEST_CASE("when patches are permitted again, what waited for that is moved soon, and not at the next try") {
  Harness h;
  h.cluster.refuse = failing("patch", "secrets", 403, "cannot patch resource");
  h.start({"a", "b"});
  for (int number = 0; number < 10; ++number) {
    h.add_secret("o-" + std::to_string(number));
  }
  h.advance(30min, 500ms);
  REQUIRE(h.trouble);
  CHECK(h.misplaced() == 10);
  h.cluster.refuse = nullptr;
  h.add_secret("new");  // if the watch shows it
  h.advance(5s);
  CHECK(h.misplaced() == (h.labels("new").contains(kShard) ? 0 : 11));
  h.advance(5min);
  CHECK(h.misplaced() == 0);
  CHECK_FALSE(h.trouble);
}

TEST_CASE("after an outage of minutes what drains is counted at once") {
  Harness h;
  h.start({"a", "b"}, 40);
  h.change_members({"a", "b", "c"});
  h.advance(20s);
  REQUIRE(h.metrics().contains("controller_sharding_draining_objects"));
  h.cluster.refuse = failing("list watch", "", 0);
  for (const auto& stream : h.api.streams) {
    if (!stream->cancelled) {
      stream->cancelled = true;
      stream->sink->on_close(Error{.code = ErrorCode::kUnavailable, .message = ""});
    }
  }
  h.advance(90s);
  h.acknowledge_all();
  h.cluster.refuse = nullptr;
  h.advance(15s);
  CHECK(h.rebalancer->report("ring").value().front().draining == 0);
}

TEST_CASE("a move whose answer was lost is counted, once") {
  Harness h;
  const auto metric = [](const std::string& name, std::size_t value) {
    return "controller_sharding_" + name + R"({controllerring="ring",group="",resource="secrets"} )" +
           std::to_string(value);
  };
  h.start({"a"}, 20);
  h.cluster.lose_answers = true;
  SUBCASE("of orphans: their watch shows that they are none any more") {
    for (const char* name : {"x", "y", "z"}) {
      h.add_secret(name);
    }
    h.advance(500ms);
    h.cluster.lose_answers = false;
    h.advance(5s);
    CHECK(h.misplaced() == 0);
    CHECK(h.has_metric(metric("movements_total", 3)));
  }
  SUBCASE("of drains: the patch that is sent again conflicts") {
    h.change_members({"a", "b"});
    h.advance(500ms);
    h.cluster.lose_answers = false;
    h.advance(5s);
    const auto draining =
        std::ranges::count_if(h.all_labels(), [](const auto& entry) { return entry.second.contains(kDrain); });
    REQUIRE(draining > 0);
    CHECK(h.has_metric(metric("drains_total", static_cast<std::size_t>(draining))));
  }
  SUBCASE("of drains that are acknowledged before anybody looks") {
    h.members = std::make_shared<const ring::Ring>(std::vector<std::string>{"a", "b"});
    h.publish();
    h.rebalancer->on_shards_changed("ring");
    std::size_t acknowledged = 0;
    for (int step = 0; step < 100; ++step) {
      h.advance(5ms, 5ms);
      for (const auto& [name, labels] : h.all_labels()) {
        if (labels.contains(kDrain)) {
          h.acknowledge_to_target(name);
          ++acknowledged;
        }
      }
    }
    REQUIRE(acknowledged > 0);
    h.cluster.lose_answers = false;
    h.advance(5s);
    CHECK(h.misplaced() == 0);
    CHECK(h.has_metric(metric("drains_total", acknowledged)));
  }
  SUBCASE("the ring changes meanwhile") {
    h.add_secret("x");
    h.advance(50ms, 10ms);
    REQUIRE(h.labels("x") == json{{kShard, "a"}});
    h.change_members({"a", "b"});
    h.cluster.lose_answers = false;
    h.advance(5s);
    CHECK(h.has_metric(metric("movements_total", 1)));
  }
}
