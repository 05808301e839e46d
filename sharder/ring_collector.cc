#include "sharder/ring_collector.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

namespace sharder::app {
namespace {

using Labels = std::vector<prometheus::ClientMetric::Label>;

// The values of the state label; the last one is for everything else.
constexpr std::array<std::string_view, 6> kStates{"orphaned", "dead", "uncertain", "expired", "ready", "unknown"};

prometheus::MetricFamily gauge(std::string name, std::string help) {
  return {.name = std::move(name), .help = std::move(help), .type = prometheus::MetricType::Gauge, .metric = {}};
}

template <class Number>
void add(prometheus::MetricFamily& family, Labels labels, Number value) {
  prometheus::ClientMetric& metric = family.metric.emplace_back();
  metric.label = std::move(labels);
  metric.gauge.value = static_cast<double>(value);
}

struct Families {
  prometheus::MetricFamily generation =
      gauge("controller_sharding_controllerring_metadata_generation", "The generation of a ControllerRing.");
  prometheus::MetricFamily observed = gauge("controller_sharding_controllerring_observed_generation",
                                            "The generation of a ControllerRing that its status speaks of.");
  prometheus::MetricFamily shards =
      gauge("controller_sharding_controllerring_status_shards", "The number of shards in a ControllerRing's status.");
  prometheus::MetricFamily available = gauge("controller_sharding_controllerring_status_available_shards",
                                             "The number of available shards in a ControllerRing's status.");
  prometheus::MetricFamily ready = gauge("controller_sharding_controllerring_ready",
                                         "1 if the ControllerRing's condition Ready is True, 0 if it is False.");
  prometheus::MetricFamily reachable =
      gauge("controller_sharding_webhook_reachable",
            "1 if the ControllerRing's condition WebhookReachable is True, 0 if it is False.");
  prometheus::MetricFamily info = gauge("controller_sharding_shard_info", "Information about a shard's Lease.");
  prometheus::MetricFamily state = gauge("controller_sharding_shard_state",
                                         "The state of a shard as its Lease's label has it: 1 for the one it is in.");
  prometheus::MetricFamily share =
      gauge("controller_sharding_ring_share", "The part of all possible keys that a member of the ring owns.");
  prometheus::MetricFamily members = gauge("controller_sharding_ring_members_hash",
                                           "A hash of the ring's members: replicas that agree have the same.");
  prometheus::MetricFamily cordoned =
      gauge("controller_sharding_shard_cordoned", "1 if a shard's Lease is annotated as cordoned, else 0.");
  prometheus::MetricFamily in_grace =
      gauge("controller_sharding_shard_in_grace",
            "1 if a shard has released its Lease and keeps its place for the ring's grace period, else 0.");
};

void add_ring(Families& families, const ring::RingStatus& ring) {
  const Labels labels{{"controllerring", ring.spec.name}, {"uid", ring.spec.uid}};
  add(families.generation, labels, ring.spec.generation);
  add(families.observed, labels, ring.observed_generation);
  add(families.shards, labels, ring.status_shards);
  add(families.available, labels, ring.status_available_shards);
  if (ring.ready) {
    add(families.ready, labels, *ring.ready ? 1 : 0);
  }
  if (ring.webhook_reachable) {
    add(families.reachable, labels, *ring.webhook_reachable ? 1 : 0);
  }
}

void add_shard(Families& families, const std::string& ring, const ring::ShardStatus& shard) {
  Labels labels{
      {"namespace", shard.lease_namespace}, {"shard", shard.name}, {"controllerring", ring}, {"uid", shard.uid}};
  add(families.info, labels, 1);
  add(families.cordoned, labels, shard.cordoned ? 1 : 0);
  add(families.in_grace, labels, shard.in_grace ? 1 : 0);
  const auto* const known = std::ranges::find(kStates, shard.state);
  const std::string_view current = known == kStates.end() ? kStates.back() : *known;
  for (const std::string_view state : kStates) {
    labels.back() = {"state", std::string(state)};
    add(families.state, labels, state == current ? 1 : 0);
  }
}

void add_members(Families& families, const std::string& name, const ring::Ring& ring) {
  add(families.members, {{"controllerring", name}}, ring.members_hash());
  const std::vector<double> shares = ring.shares();
  for (std::size_t i = 0; i < shares.size(); ++i) {
    add(families.share, {{"controllerring", name}, {"shard", ring.shards()[i]}}, shares[i]);
  }
}

}  // namespace

std::vector<prometheus::MetricFamily> RingCollector::Collect() const {
  Families families;
  if (const auto snapshot = snapshots_.get()) {
    for (const auto& [name, ring] : snapshot->rings) {
      add_ring(families, *ring);
      for (const ring::ShardStatus& shard : ring->shards) {
        add_shard(families, name, shard);
      }
    }
  }
  if (const auto ring_set = ring_sets_.get()) {
    for (const auto& [name, entry] : ring_set->rings) {
      add_members(families, name, entry->ring());
    }
  }
  std::vector<prometheus::MetricFamily> all;
  for (auto* family : {&families.generation, &families.observed, &families.shards, &families.available, &families.ready,
                       &families.reachable, &families.info, &families.state, &families.cordoned, &families.in_grace,
                       &families.share, &families.members}) {
    all.push_back(std::move(*family));
  }
  return all;
}

}  // namespace sharder::app
