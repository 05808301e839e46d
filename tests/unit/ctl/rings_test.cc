#include "ctl/rings.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "tests/unit/ctl/facts.h"

using namespace sharder;
using namespace sharder::ctl;

TEST_CASE(
    "the members of a ring hold their Lease, are not cordoned, and have a name that is a label (protocol, 3 and 4)") {
  const RingFacts ring = facts::with_leases({facts::lease("ring", "held", "held"), facts::lease("ring", "released", ""),
                                             facts::lease("ring", "taken", "shardlease-controller"),
                                             facts::cordoned(facts::lease("ring", "cordoned", "cordoned")),
                                             facts::lease("ring", std::string(64, 'x'), std::string(64, 'x')),
                                             facts::lease("other", "stray", "stray")});
  CHECK(ring.entry->ring().shards() == std::vector<std::string>{"held"});
  CHECK(ring.shards.size() == 5);
  CHECK(ring.find_shard("cordoned")->lease.cordoned);
  CHECK(ring.find_shard("stray") == nullptr);
}

TEST_CASE(
    "when all shards are cordoned, all are members; and a released shard is one during a grace period (protocol, 12)") {
  const RingFacts cordoned = facts::with_leases({facts::cordoned(facts::lease("ring", "a", "a"))});
  CHECK(cordoned.find_shard("a")->member);
  CHECK(state_text(*cordoned.find_shard("a")) == "ready,cordoned");
  nlohmann::json with_grace = facts::ring("ring");
  with_grace["metadata"]["annotations"][ring::kGracePeriodAnnotation] = "2m";
  std::vector<RingFacts> rings{*decode_ring_facts(with_grace)};
  enrol(rings, {*membership::decode_shard_lease(facts::lease("ring", "a", "").dump())}, facts::kNow);
  CHECK(rings.front().find_shard("a")->member);
  CHECK(state_text(*rings.front().find_shard("a")) == "dead,grace");
}

TEST_CASE("shards of a ring that does not exist are strays") {
  std::vector<RingFacts> rings{*decode_ring_facts(facts::ring("ring"))};
  const auto strays =
      enrol(rings, {*membership::decode_shard_lease(facts::lease("other", "stray", "stray").dump())}, facts::kNow);
  REQUIRE(strays.size() == 1);
  CHECK(strays.front().lease.ring == "other");
}

TEST_CASE("of two Leases with one name, the one that makes the shard a member is the shard's") {
  auto elsewhere = facts::lease("ring", "a", "a");
  elsewhere["metadata"]["namespace"] = "zzz";
  const RingFacts ring = facts::with_leases({facts::lease("ring", "a", ""), elsewhere});
  REQUIRE(ring.find_shard("a") != nullptr);
  CHECK(ring.find_shard("a")->lease.id.lease_namespace == "zzz");
  CHECK(ring.entry->ring().shards() == std::vector<std::string>{"a"});
}

TEST_CASE("a namespaceSelector is the ring's own, else the webhook configuration's, else the protocol's default") {
  RingFacts ring = facts::with_members({"a"});
  WebhookFacts webhook{
      .exists = true,
      .namespace_selector = ring::LabelSelector{.match_labels = {{"team", "x"}}, .match_expressions = {}},
      .ca_pem = {},
      .rules = {}};
  const Selection by_default = selection_of(ring, std::nullopt);
  CHECK(by_default.source == Selection::Source::kProtocol);
  CHECK(by_default.selects_namespace("ns") == true);
  CHECK(by_default.selects_namespace("kube-system") == false);
  Selection by_webhook = selection_of(ring, webhook);
  CHECK(by_webhook.source == Selection::Source::kWebhook);
  CHECK(by_webhook.selects_namespace("ns") == std::nullopt);  // its labels are not known
  by_webhook.namespaces = {{"ns", {{"team", "x"}}}, {"other", {}}};
  CHECK(by_webhook.selects_namespace("ns") == true);
  CHECK(by_webhook.selects_namespace("other") == false);
  CHECK(by_webhook.selects_namespace("third") == std::nullopt);
  ring.object.spec.namespace_selector = ring::LabelSelector();
  CHECK(selection_of(ring, webhook).source == Selection::Source::kRing);
  CHECK(selection_of(ring, webhook).selects_namespace("kube-system") == true);
}
