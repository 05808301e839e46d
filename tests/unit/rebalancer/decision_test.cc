#include "rebalancer/decision.h"

#include <doctest/doctest.h>

#include <array>
#include <nlohmann/json.hpp>
#include <random>

#include "http/server.h"
#include "ring/names.h"
#include "webhook/admission_review.h"
#include "webhook/assign.h"

using namespace sharder;
using namespace sharder::rebalancer;
using nlohmann::json;

namespace {

const kube::Resource kSecrets{"", "v1", "secrets", "Secret", true};
const kube::Resource kReplicaSets{"apps", "v1", "replicasets", "ReplicaSet", true};

ring::RingEntry make_entry(const std::vector<std::string>& shards) {
  ring::ControllerRing spec{.name = "ring",
                            .uid = "u",
                            .generation = 1,
                            .resources = {{.main = {"", "secrets"}, .controlled = {{"apps", "replicasets"}}}},
                            .namespace_selector = {}};
  return {std::move(spec), std::make_shared<const ring::Ring>(shards)};
}

kube::ObjectMeta secret(const std::string& name, std::vector<std::pair<std::string, std::string>> labels) {
  return {.name = name,
          .object_namespace = "ns",
          .uid = "uid-" + name,
          .resource_version = "7",
          .labels = std::move(labels),
          .controller = {}};
}

// A name whose Secret belongs to `shard`.
std::string name_for(const ring::RingEntry& entry, std::string_view shard) {
  for (int number = 0;; ++number) {
    const std::string name = "s-" + std::to_string(number);
    if (entry.ring().owner("/Secret/ns/" + name) == shard) {
      return name;
    }
  }
}

Decision decide(const ring::RingEntry& entry, ring::Role role, const kube::ObjectMeta& object) {
  Placement placement;
  find_placement(placement, entry, role, role == ring::Role::kMain ? kSecrets : kReplicaSets, object);
  return rebalancer::decide(entry, role, placement);
}

}  // namespace

TEST_CASE("the table: an object that is where it belongs, or has nowhere to go, is left alone (protocol, 6)") {
  const ring::RingEntry entry = make_entry({"a", "b"});
  const kube::ObjectMeta object = secret(name_for(entry, "a"), {{entry.shard_label(), "a"}});
  CHECK(decide(entry, ring::Role::kMain, object).kind == MoveKind::kNone);
  const ring::RingEntry nobody = make_entry({});
  CHECK(decide(nobody, ring::Role::kMain, object).kind == MoveKind::kNone);
  CHECK(decide(nobody, ring::Role::kMain, secret("x", {})).kind == MoveKind::kNone);
}

TEST_CASE("the table: no shard, an empty one, or one that is not available: reassign (protocol, 6)") {
  const ring::RingEntry entry = make_entry({"a", "b"});
  const std::string name = name_for(entry, "b");
  for (const auto& labels : std::vector<std::vector<std::pair<std::string, std::string>>>{
           {}, {{entry.shard_label(), ""}}, {{entry.shard_label(), "gone"}}}) {
    const Decision decision = decide(entry, ring::Role::kMain, secret(name, labels));
    CHECK(decision.kind == MoveKind::kReassign);
    CHECK(decision.shard == "b");
    CHECK(decision.is_orphan);
  }
}

TEST_CASE("the table: a main object on another available shard is drained, a controlled one reassigned (protocol, 6)") {
  const ring::RingEntry entry = make_entry({"a", "b"});
  const std::string name = name_for(entry, "b");
  CHECK(decide(entry, ring::Role::kMain, secret(name, {{entry.shard_label(), "a"}})) ==
        Decision{.kind = MoveKind::kDrain, .shard = "b"});

  kube::ObjectMeta controlled = secret("rs", {{entry.shard_label(), "a"}});
  controlled.controller = kube::OwnerReference{.api_version = "v1", .kind = "Secret", .name = name};
  const Decision decision = decide(entry, ring::Role::kControlled, controlled);
  CHECK(decision.kind == MoveKind::kReassign);
  CHECK(decision.shard == "b");
  CHECK_FALSE(decision.is_orphan);
}

TEST_CASE("a cordoned shard is no member, and nothing is taken from it: main objects are drained (design, 6.3)") {
  const ring::RingEntry members = make_entry({"a", "b"});
  const ring::RingEntry entry(members.spec(), std::make_shared<const ring::Ring>(members.ring().shards()), {"c", "d"});
  const std::string name = name_for(entry, "b");
  const auto on_c = std::vector<std::pair<std::string, std::string>>{{entry.shard_label(), "c"}};
  Decision decision = decide(entry, ring::Role::kMain, secret(name, on_c));
  CHECK(decision.kind == MoveKind::kDrain);
  CHECK(decision.shard == "b");
  CHECK_FALSE(decision.is_orphan);

  auto drains = on_c;
  drains.emplace_back(entry.drain_label(), "b");
  CHECK(decide(entry, ring::Role::kMain, secret(name, drains)).kind == MoveKind::kNone);

  kube::ObjectMeta controlled = secret("x", on_c);
  controlled.controller = {.api_version = "v1", .kind = "Secret", .name = name};
  decision = decide(entry, ring::Role::kControlled, controlled);
  CHECK(decision.kind == MoveKind::kReassign);
  CHECK_FALSE(decision.is_orphan);

  decision = decide(entry, ring::Role::kMain, secret(name, {{entry.shard_label(), "e"}}));
  CHECK(decision.kind == MoveKind::kReassign);
  CHECK(decision.is_orphan);
}

TEST_CASE("what drains already is left alone; a drain label that is left over goes (protocol, 9)") {
  const ring::RingEntry entry = make_entry({"a", "b", "c"});
  const std::string name = name_for(entry, "b");
  for (const char* const target :
       {"b", "c", "gone", "true", ""}) {  // its own, an older one, the Go sharder's, anybody's
    CAPTURE(target);
    CHECK(decide(entry, ring::Role::kMain, secret(name, {{entry.shard_label(), "a"}, {entry.drain_label(), target}})) ==
          Decision{.has_drain_label = true});
  }
  CHECK(decide(entry, ring::Role::kMain, secret(name, {{entry.shard_label(), "b"}, {entry.drain_label(), ""}})).kind ==
        MoveKind::kClearDrain);
  const Decision dead =
      decide(entry, ring::Role::kMain, secret(name, {{entry.shard_label(), "gone"}, {entry.drain_label(), "true"}}));
  CHECK(dead.kind == MoveKind::kReassign);
  CHECK(dead.has_drain_label);
}

TEST_CASE(
    "a target is outdated when the ring chooses another shard by now; what names no shard never is (protocol, 6)") {
  const ring::RingEntry entry = make_entry({"a", "b"});
  Placement placement{.key = "/Secret/ns/" + name_for(entry, "a"), .shard = "b", .draining = true};
  CHECK_FALSE(is_outdated(entry, placement, "a"));
  CHECK(is_outdated(entry, placement, "b"));
  CHECK(is_outdated(entry, placement, "c"));
  CHECK_FALSE(is_outdated(entry, placement, "true"));
  CHECK_FALSE(is_outdated(entry, placement, ""));
  CHECK_FALSE(is_outdated(make_entry({}), placement, "c"));
  placement.key.clear();  // the ring does not shard it
  CHECK_FALSE(is_outdated(entry, placement, "c"));
}

TEST_CASE("a controlled object without a controller, or with a malformed one, is not sharded (protocol, 4)") {
  const ring::RingEntry entry = make_entry({"a"});
  kube::ObjectMeta object = secret("rs", {{entry.shard_label(), "gone"}});
  CHECK(decide(entry, ring::Role::kControlled, object).kind == MoveKind::kNone);
  object.controller = kube::OwnerReference{.api_version = "a/b/c", .kind = "X", .name = "x"};
  CHECK(decide(entry, ring::Role::kControlled, object).kind == MoveKind::kNone);
  object.controller = kube::OwnerReference{.api_version = "v1", .kind = "", .name = "x"};
  CHECK(decide(entry, ring::Role::kControlled, object).kind == MoveKind::kNone);
}

TEST_CASE("one patch carries a decision out, with the version it was decided on (protocol, 6; design, 6.5)") {
  const ring::RingEntry entry = make_entry({"a"});
  const auto body = [&](const Decision& decision) {
    return json::parse(patch_body(entry, decision, *kube::Precondition::of("7")));
  };
  CHECK(body({.kind = MoveKind::kReassign, .shard = "a"}) ==
        json{{"metadata", {{"resourceVersion", "7"}, {"labels", {{entry.shard_label(), "a"}}}}}});
  CHECK(body({.kind = MoveKind::kReassign, .shard = "a", .has_drain_label = true}) ==
        json{{"metadata",
              {{"resourceVersion", "7"}, {"labels", {{entry.shard_label(), "a"}, {entry.drain_label(), nullptr}}}}}});
  CHECK(body({.kind = MoveKind::kDrain, .shard = "a"}) ==
        json{{"metadata", {{"resourceVersion", "7"}, {"labels", {{entry.drain_label(), "a"}}}}}});
  CHECK(body({.kind = MoveKind::kClearDrain, .has_drain_label = true}) ==
        json{{"metadata", {{"resourceVersion", "7"}, {"labels", {{entry.drain_label(), nullptr}}}}}});
}

TEST_CASE("webhook and rebalancer give the same shard for the same object and ring (design, 6.1)") {
  std::mt19937 random(17);  // NOLINT: the same objects in each run
  const auto pick = [&](int count) { return static_cast<int>(random() % static_cast<unsigned>(count)); };
  constexpr std::array kOwners = {"apps/v1", "v1", "example.com/v1beta1", "", "a/b/c"};
  int assigned = 0;
  for (int round = 0; round < 2000; ++round) {
    std::vector<std::string> shards;
    for (int shard = pick(13); shard > 0; --shard) {
      shards.push_back("ctl-" + std::to_string(shard));
    }
    ring::RingSet rings{.version = 1, .rings = {}};
    rings.rings["ring"] = std::make_shared<const ring::RingEntry>(make_entry(shards));
    const ring::RingEntry& entry = *rings.find("ring");
    const bool controlled = pick(2) == 1;
    const kube::Resource& resource = controlled ? kReplicaSets : kSecrets;
    json metadata{{"name", "n" + std::to_string(random())}, {"namespace", "ns-" + std::to_string(pick(5))}};
    if (pick(3) > 0) {
      metadata["ownerReferences"] =
          json::array({{{"apiVersion", "v1"}, {"kind", "Node"}, {"name", "other"}, {"uid", "1"}},
                       {{"apiVersion", kOwners.at(static_cast<std::size_t>(pick(5)))},
                        {"kind", pick(8) == 0 ? "" : "Deployment"},
                        {"name", "d-" + std::to_string(pick(100))},
                        {"uid", "2"},
                        {"controller", pick(4) > 0}}});
    }
    const json object{{"apiVersion", resource.group.empty() ? "v1" : resource.group + "/v1"},
                      {"kind", resource.kind},
                      {"metadata", metadata}};
    const json review{{"apiVersion", "admission.k8s.io/v1"},
                      {"kind", "AdmissionReview"},
                      {"request",
                       {{"uid", "x"},
                        {"operation", "CREATE"},
                        {"namespace", metadata["namespace"]},
                        {"resource", {{"group", resource.group}, {"version", "v1"}, {"resource", resource.plural}}},
                        {"object", object}}}};

    std::string shard_by_webhook;
    webhook::ReviewDecoder decoder(1U << 20U);
    webhook::Assigner assigner([&] { return random(); });
    std::string body = review.dump();
    const std::size_t size = body.size();
    body.resize(size + http::kBodyPadding);
    const auto decoded = decoder.decode(std::string_view(body).substr(0, size), entry.shard_label());
    REQUIRE(decoded);
    const webhook::Assignment answer = assigner.decide(*decoded, &rings, "ring");
    if (!answer.patch.empty()) {
      shard_by_webhook = json::parse(answer.patch).back().at("value").get<std::string>();
    }

    const auto meta = kube::ObjectMetaDecoder().decode(object.dump());
    REQUIRE(meta);
    CHECK(decide(entry, controlled ? ring::Role::kControlled : ring::Role::kMain, *meta).shard == shard_by_webhook);
    assigned += shard_by_webhook.empty() ? 0 : 1;
  }
  CHECK(assigned > 500);
}
