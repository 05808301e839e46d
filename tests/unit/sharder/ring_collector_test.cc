#include "sharder/ring_collector.h"

#include <doctest/doctest.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

// protocol, 8.
namespace {

using namespace sharder;
using sharder::app::RingCollector;

std::string text(const RingCollector& collector) {
  std::string lines = prometheus::TextSerializer().Serialize(collector.Collect());
  // Without the lines that explain.
  std::string values;
  for (std::size_t at = 0; at < lines.size();) {
    const auto end = lines.find('\n', at);
    if (lines[at] != '#') {
      values += lines.substr(at, end - at + 1);
    }
    at = end + 1;
  }
  return values;
}

TEST_CASE("rings and shards are shown as the snapshot has them") {
  Published<ring::Snapshot> snapshots;
  Published<ring::RingSet> ring_sets;
  const RingCollector collector(snapshots, ring_sets);
  CHECK(text(collector).empty());

  ring::RingStatus status;
  status.spec.name = "a";
  status.spec.uid = "u-a";
  status.spec.generation = 3;
  status.observed_generation = 2;
  status.status_shards = 5;
  status.status_available_shards = 4;
  status.ready = true;
  status.webhook_reachable = false;
  status.shards = {{.lease_namespace = "ns",
                    .name = "s-0",
                    .uid = "l-0",
                    .state = "ready",
                    .available = true,
                    .in_grace = true,
                    .cordoned = true}};
  ring::Snapshot snapshot;
  snapshot.rings.emplace("a", std::make_shared<const ring::RingStatus>(status));
  snapshots.publish(std::make_shared<const ring::Snapshot>(snapshot));
  CHECK(text(collector) ==
        "controller_sharding_controllerring_metadata_generation{controllerring=\"a\",uid=\"u-a\"} 3\n"
        "controller_sharding_controllerring_observed_generation{controllerring=\"a\",uid=\"u-a\"} 2\n"
        "controller_sharding_controllerring_status_shards{controllerring=\"a\",uid=\"u-a\"} 5\n"
        "controller_sharding_controllerring_status_available_shards{controllerring=\"a\",uid=\"u-a\"} 4\n"
        "controller_sharding_controllerring_ready{controllerring=\"a\",uid=\"u-a\"} 1\n"
        "controller_sharding_webhook_reachable{controllerring=\"a\",uid=\"u-a\"} 0\n"
        "controller_sharding_shard_info{namespace=\"ns\",shard=\"s-0\",controllerring=\"a\",uid=\"l-0\"} 1\n"
        "controller_sharding_shard_state{namespace=\"ns\",shard=\"s-0\",controllerring=\"a\",state=\"orphaned\"} 0\n"
        "controller_sharding_shard_state{namespace=\"ns\",shard=\"s-0\",controllerring=\"a\",state=\"dead\"} 0\n"
        "controller_sharding_shard_state{namespace=\"ns\",shard=\"s-0\",controllerring=\"a\",state=\"uncertain\"} 0\n"
        "controller_sharding_shard_state{namespace=\"ns\",shard=\"s-0\",controllerring=\"a\",state=\"expired\"} 0\n"
        "controller_sharding_shard_state{namespace=\"ns\",shard=\"s-0\",controllerring=\"a\",state=\"ready\"} 1\n"
        "controller_sharding_shard_state{namespace=\"ns\",shard=\"s-0\",controllerring=\"a\",state=\"unknown\"} 0\n"
        "controller_sharding_shard_cordoned{namespace=\"ns\",shard=\"s-0\",controllerring=\"a\",uid=\"l-0\"} 1\n"
        "controller_sharding_shard_in_grace{namespace=\"ns\",shard=\"s-0\",controllerring=\"a\",uid=\"l-0\"} 1\n");

  snapshots.publish(std::make_shared<const ring::Snapshot>());
  CHECK(text(collector).empty());
}

TEST_CASE("a shard is in exactly one state, unknown when its label says nothing that is known") {
  for (const char* state : {"", "ready", "expired", "uncertain", "dead", "orphaned", "unknown", "nonsense"}) {
    Published<ring::Snapshot> snapshots;
    ring::RingStatus status;
    status.spec.name = "a";
    status.shards = {{.lease_namespace = "ns", .name = "s-0", .uid = "l-0", .state = state, .available = false}};
    ring::Snapshot snapshot;
    snapshot.rings.emplace("a", std::make_shared<const ring::RingStatus>(status));
    snapshots.publish(std::make_shared<const ring::Snapshot>(snapshot));
    const Published<ring::RingSet> ring_sets;
    const auto families = RingCollector(snapshots, ring_sets).Collect();
    const auto family = std::ranges::find(families, "controller_sharding_shard_state", &prometheus::MetricFamily::name);
    REQUIRE(family != families.end());
    REQUIRE(family->metric.size() == 6);
    std::string current;
    for (const auto& metric : family->metric) {
      if (metric.gauge.value == 1) {
        current += metric.label.back().value;
      }
    }
    const std::string given = state;
    CHECK(current == (given.empty() || given == "nonsense" ? "unknown" : given));
  }
}

// The value of the only series of a family.
double value_of(const RingCollector& collector, const std::string& name) {
  const auto families = collector.Collect();
  const auto family = std::ranges::find(families, name, &prometheus::MetricFamily::name);
  REQUIRE(family != families.end());
  REQUIRE(family->metric.size() == 1);
  return family->metric.front().gauge.value;
}

TEST_CASE("the shares of a ring's members, and a hash by which replicas know that they have the same members") {
  const Published<ring::Snapshot> snapshots;
  Published<ring::RingSet> ring_sets;
  const RingCollector collector(snapshots, ring_sets);
  const auto publish = [&](const std::vector<std::string>& shards) {
    auto ring_set = std::make_shared<ring::RingSet>();
    const ring::ControllerRing spec{
        .name = "a", .uid = "u-a", .generation = 1, .resources = {}, .namespace_selector = {}};
    ring_set->rings["a"] = std::make_shared<const ring::RingEntry>(spec, std::make_shared<ring::Ring>(shards));
    ring_sets.publish(std::move(ring_set));
  };
  const std::string hash = "controller_sharding_ring_members_hash";
  publish({"s-0"});
  CHECK(text(collector).contains("controller_sharding_ring_share{controllerring=\"a\",shard=\"s-0\"} "));
  CHECK(value_of(collector, "controller_sharding_ring_share") == doctest::Approx(1));
  const double alone = value_of(collector, hash);
  publish({"s-1", "s-0"});
  const ring::Ring two({"s-0", "s-1"});
  std::ostringstream share;
  share << "shard=\"s-1\"} " << two.shares().at(1);
  CHECK(text(collector).contains(share.str().substr(0, 16)));
  const double both = value_of(collector, hash);
  CHECK(both != alone);
  CHECK(both < 0x1p48);
  publish({"s-0", "s-1"});
  CHECK(value_of(collector, hash) == both);
  publish({"ab", "c"});
  const double others = value_of(collector, hash);
  publish({"a", "bc"});  // the same letters
  CHECK(value_of(collector, hash) != others);
  publish({});
  CHECK_FALSE(text(collector).contains("controller_sharding_ring_share{"));
}

}  // namespace
