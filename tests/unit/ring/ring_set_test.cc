#include "ring/ring_set.h"

#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <vector>

using sharder::ring::ControllerRing;
using sharder::ring::Ring;
using sharder::ring::RingEntry;
using sharder::ring::RingSet;
using sharder::ring::Role;

namespace {

RingEntry entry() {
  return RingEntry(ControllerRing{.name = "example",
                                  .uid = "u-1",
                                  .generation = 3,
                                  .resources = {{.main = {"apps", "deployments"},
                                                 .controlled = {{"apps", "replicasets"}, {"", "secrets"}}},
                                                {.main = {"", "secrets"}, .controlled = {{"", "configmaps"}}},
                                                {.main = {"", "namespaces"}, .controlled = {{"", "namespaces"}}}},
                                  .namespace_selector = {}},
                   std::make_shared<const Ring>(std::vector<std::string>{"shard-0"}));
}

}  // namespace

TEST_CASE("an entry knows its labels, its spec and its ring") {
  const RingEntry example = entry();
  CHECK(example.shard_label() == "shard.alpha.sharding.timebertt.dev/example");
  CHECK(example.drain_label() == "drain.alpha.sharding.timebertt.dev/example");
  CHECK(example.spec().generation == 3);
  CHECK(example.ring().contains("shard-0"));
}

// protocol, 4
TEST_CASE("a resource listed as main and as controlled counts as main") {
  const RingEntry example = entry();
  CHECK(example.role("apps", "deployments") == Role::kMain);
  CHECK(example.role("apps", "replicasets") == Role::kControlled);
  CHECK(example.role("", "secrets") == Role::kMain);  // controlled first, main later
  CHECK(example.role("", "configmaps") == Role::kControlled);
  CHECK(example.role("", "namespaces") == Role::kMain);  // both in one entry
}

TEST_CASE("a resource of another group is another resource") {
  const RingEntry example = entry();
  CHECK(example.role("", "deployments") == Role::kNone);
  CHECK(example.role("extensions", "deployments") == Role::kNone);
  CHECK(example.role("apps", "deployment") == Role::kNone);
  CHECK(example.role("", "") == Role::kNone);
}

TEST_CASE("a ring set finds rings by name") {
  RingSet set;
  CHECK(set.find("example") == nullptr);
  const auto example = std::make_shared<const RingEntry>(entry());
  set.rings.emplace("example", example);
  CHECK(set.find("example") == example.get());
  CHECK(set.find("exampl") == nullptr);
  CHECK(set.find("") == nullptr);
}
