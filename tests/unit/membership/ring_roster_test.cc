#include "membership/ring_roster.h"

#include <doctest/doctest.h>

#include "ring/ring.h"

using namespace sharder;
using namespace sharder::membership;

namespace {

ring::RingObject ring_object(const std::string& name, std::int64_t generation = 1) {
  ring::RingObject object;
  object.spec.name = name;
  object.spec.uid = "uid-" + name;
  object.spec.generation = generation;
  return object;
}

ring::ShardStatus shard(const std::string& name, bool available = true, const std::string& state = "ready",
                        const std::string& lease_namespace = "default") {
  return {
      .lease_namespace = lease_namespace, .name = name, .uid = "uid-" + name, .state = state, .available = available};
}

std::vector<std::string> members(const RingRoster::News& news, const std::string& ring) {
  return news.ring_set->find(ring)->ring().shards();
}

}  // namespace

TEST_CASE("the first RingSet comes also without rings, and then only what is new") {
  RingRoster roster;
  auto news = roster.publish();
  REQUIRE(news.ring_set);
  CHECK(news.ring_set->version == 1);
  CHECK(news.ring_set->rings.empty());
  REQUIRE(news.snapshot);
  CHECK(news.changes.empty());
  news = roster.publish();
  CHECK_FALSE(news.ring_set);
  CHECK_FALSE(news.snapshot);
}

TEST_CASE("a RingSet is published when members or specs change, and only the rings concerned are computed") {
  RingRoster roster;
  roster.put_ring(ring_object("a"));
  roster.put_ring(ring_object("b"));
  roster.put_shard("a", shard("x"));
  roster.put_shard("b", shard("y"));
  auto first = roster.publish();
  CHECK(first.calculated == std::vector<std::string>{"a", "b"});
  CHECK(members(first, "a") == std::vector<std::string>{"x"});
  CHECK(first.changes == std::vector<Change>{{ChangeKind::kRingAdded, "a"}, {ChangeKind::kRingAdded, "b"}});

  SUBCASE("a shard joins") {
    roster.put_shard("a", shard("z"));
    const auto news = roster.publish();
    REQUIRE(news.ring_set);
    CHECK(news.ring_set->version == 2);
    CHECK(members(news, "a") == std::vector<std::string>{"x", "z"});
    CHECK(news.calculated == std::vector<std::string>{"a"});
    CHECK(news.ring_set->rings.at("b") == first.ring_set->rings.at("b"));  // shared, not copied
    CHECK(news.changes == std::vector<Change>{{ChangeKind::kShardsChanged, "a"}});
  }
  SUBCASE("a spec changes: the tokens stay") {
    roster.put_ring(ring_object("a", 2));
    const auto news = roster.publish();
    REQUIRE(news.ring_set);
    CHECK(news.calculated.empty());
    CHECK(&news.ring_set->find("a")->ring() == &first.ring_set->find("a")->ring());
    CHECK(news.changes == std::vector<Change>{{ChangeKind::kRingChanged, "a"}});
  }
  SUBCASE("a state label or a ring's status changes: only the snapshot does") {
    roster.put_shard("a", shard("x", true, "expired"));
    ring::RingObject object = ring_object("b");
    object.status_shards = 1;
    roster.put_ring(object);
    const auto news = roster.publish();
    CHECK_FALSE(news.ring_set);
    REQUIRE(news.snapshot);
    CHECK(news.snapshot->find("a")->shards[0].state == "expired");
    CHECK(news.snapshot->find("b")->status_shards == 1);
    CHECK(news.changes.empty());
  }
  SUBCASE("what comes and goes between two calls is nothing new") {
    roster.put_shard("a", shard("z"));
    roster.remove_shard("a", {"default", "z"});
    const auto news = roster.publish();
    CHECK_FALSE(news.ring_set);
    CHECK(news.calculated.empty());
  }
  SUBCASE("nothing changes") {
    roster.put_shard("a", shard("x"));
    roster.put_ring(ring_object("a"));
    roster.remove_shard("a", {"default", "nobody"});
    roster.remove_shard("nowhere", {"default", "x"});
    roster.remove_ring("nowhere");
    const auto news = roster.publish();
    CHECK_FALSE(news.ring_set);
    CHECK_FALSE(news.snapshot);
  }
  SUBCASE("a ring goes and comes back with its shards") {
    roster.remove_ring("a");
    auto news = roster.publish();
    REQUIRE(news.ring_set);
    CHECK(news.ring_set->find("a") == nullptr);
    CHECK(news.snapshot->find("a") == nullptr);
    CHECK(news.changes == std::vector<Change>{{ChangeKind::kRingRemoved, "a"}});
    roster.put_ring(ring_object("a"));
    news = roster.publish();
    CHECK(members(news, "a") == std::vector<std::string>{"x"});
    CHECK(news.changes == std::vector<Change>{{ChangeKind::kRingAdded, "a"}});
  }
  SUBCASE("the last shard goes: an empty ring") {
    roster.remove_shard("b", {"default", "y"});
    const auto news = roster.publish();
    CHECK(members(news, "b").empty());
    CHECK_FALSE(news.ring_set->find("b")->ring().owner("x"));
  }
}

TEST_CASE("a cordoned shard is no member, and stays available (decision 11)") {
  RingRoster roster;
  roster.put_ring(ring_object("r"));
  ring::ShardStatus x = shard("x");
  for (const char* name : {"y", "z"}) {
    roster.put_shard("r", shard(name));
  }
  roster.put_shard("r", x);
  roster.publish();
  x.cordoned = true;
  roster.put_shard("r", x);
  auto news = roster.publish();
  CHECK(members(news, "r") == std::vector<std::string>{"y", "z"});
  CHECK(news.ring_set->find("r")->cordoned() == std::vector<std::string>{"x"});
  CHECK(news.ring_set->find("r")->is_available("x"));
  CHECK(news.snapshot->find("r")->available_shards == 3);
  CHECK(news.snapshot->find("r")->shards[0].cordoned);
  CHECK(news.changes == std::vector<Change>{{ChangeKind::kShardsChanged, "r"}});

  SUBCASE("when the mark goes it is a member again") {
    x.cordoned = false;
    roster.put_shard("r", x);
    news = roster.publish();
    CHECK(members(news, "r") == std::vector<std::string>{"x", "y", "z"});
    CHECK(news.ring_set->find("r")->cordoned().empty());
  }
  SUBCASE("when it dies it is not available any more: a new RingSet with the same tokens") {
    x.available = false;
    roster.put_shard("r", x);
    news = roster.publish();
    REQUIRE(news.ring_set);
    CHECK(news.calculated.empty());
    CHECK_FALSE(news.ring_set->find("r")->is_available("x"));
  }
  SUBCASE("another Lease of its name changes nothing: one that is cordoned is enough") {
    roster.put_shard("r", shard("x", true, "ready", "other"));
    CHECK_FALSE(roster.publish().ring_set);
    x.available = false;  // its mark does not count any more
    roster.put_shard("r", x);
    CHECK(members(roster.publish(), "r") == std::vector<std::string>{"x", "y", "z"});
  }
}

TEST_CASE("a ring never loses its last member by a cordon: when all are cordoned, none is (decision 11)") {
  RingRoster roster;
  roster.put_ring(ring_object("r"));
  ring::ShardStatus x = shard("x");
  ring::ShardStatus y = shard("y");
  x.cordoned = y.cordoned = true;
  roster.put_shard("r", x);
  roster.put_shard("r", y);
  roster.put_shard("r", shard("dead", false, "dead"));
  auto news = roster.publish();
  CHECK(members(news, "r") == std::vector<std::string>{"x", "y"});
  CHECK(news.ring_set->find("r")->cordoned().empty());
  CHECK(news.snapshot->find("r")->all_cordoned);

  y.cordoned = false;
  roster.put_shard("r", y);
  news = roster.publish();
  CHECK(members(news, "r") == std::vector<std::string>{"y"});
  CHECK_FALSE(news.snapshot->find("r")->all_cordoned);

  y.available = false;
  roster.put_shard("r", y);
  CHECK(members(roster.publish(), "r") == std::vector<std::string>{"x"});
  x.available = false;
  roster.put_shard("r", x);
  news = roster.publish();
  CHECK(members(news, "r").empty());
  CHECK_FALSE(news.snapshot->find("r")->all_cordoned);
}

TEST_CASE("the same name in two namespaces: two shards in the status, one in the ring (protocol, 3)") {
  RingRoster roster;
  roster.put_ring(ring_object("r"));
  roster.put_shard("r", shard("x", true, "ready", "one"));
  roster.put_shard("r", shard("x", true, "ready", "two"));
  auto news = roster.publish();
  CHECK(members(news, "r") == std::vector<std::string>{"x"});
  CHECK(news.snapshot->find("r")->shards.size() == 2);
  CHECK(news.snapshot->find("r")->available_shards == 2);

  roster.put_shard("r", shard("x", false, "dead", "one"));
  news = roster.publish();
  CHECK_FALSE(news.ring_set);
  CHECK(news.snapshot->find("r")->available_shards == 1);
  CHECK(news.changes == std::vector<Change>{{ChangeKind::kShardsChanged, "r"}});

  roster.remove_shard("r", {"two", "x"});
  news = roster.publish();
  CHECK(members(news, "r").empty());
}

TEST_CASE("a shard whose name is no label value counts, but stays out of the ring (protocol, 4)") {
  RingRoster roster;
  roster.put_ring(ring_object("r"));
  const std::string fits(63, 'x');
  const std::string too_long(64, 'x');
  roster.put_shard("r", shard(fits));
  roster.put_shard("r", shard(too_long));
  const auto news = roster.publish();
  CHECK(members(news, "r") == std::vector<std::string>{fits});
  CHECK(news.snapshot->find("r")->available_shards == 2);
}

TEST_CASE("a ring whose name makes no label key is in the Snapshot, but in no RingSet") {
  RingRoster roster;
  ring::RingObject object = ring_object(std::string(64, 'r'));
  object.spec_error = "too long";
  roster.put_ring(object);
  const auto news = roster.publish();
  CHECK(news.ring_set->rings.empty());
  REQUIRE(news.snapshot->rings.size() == 1);
  CHECK(news.snapshot->rings.begin()->second->spec_error == "too long");
}

TEST_CASE("another text of the ring's annotation asks for a pass, its removal does not (protocol, 12)") {
  RingRoster roster;
  ring::RingObject object = ring_object("r");
  object.rebalance_requested_at = "one";
  roster.put_ring(object);
  CHECK(roster.publish().changes == std::vector<Change>{{ChangeKind::kRingAdded, "r"}});
  object.rebalance_requested_at = "two";
  roster.put_ring(object);
  const auto news = roster.publish();
  CHECK(news.changes == std::vector<Change>{{ChangeKind::kRebalanceRequested, "r"}});
  CHECK_FALSE(news.ring_set);
  object.status_shards = 1;
  roster.put_ring(object);
  CHECK(roster.publish().changes.empty());
  object.rebalance_requested_at = "";
  roster.put_ring(object);
  CHECK(roster.publish().changes.empty());
}

TEST_CASE("the snapshot has what the metrics and the status need (protocol, 2 and 8)") {
  RingRoster roster;
  ring::RingObject object = ring_object("r", 7);
  object.observed_generation = 6;
  object.status_shards = 3;
  object.status_available_shards = 2;
  object.deleting = true;
  roster.put_ring(object);
  roster.put_shard("r", shard("b", false, "dead"));
  roster.put_shard("r", shard("a", true, ""));
  const auto news = roster.publish();
  const ring::RingStatus* status = news.snapshot->find("r");
  REQUIRE(status != nullptr);
  CHECK(status->spec.generation == 7);
  CHECK(status->spec.uid == "uid-r");
  CHECK(status->observed_generation == 6);
  CHECK(status->status_shards == 3);
  CHECK(status->status_available_shards == 2);
  CHECK(status->deleting);
  CHECK(status->shards == std::vector<ring::ShardStatus>{shard("a", true, ""), shard("b", false, "dead")});
  CHECK(status->available_shards == 1);
}
