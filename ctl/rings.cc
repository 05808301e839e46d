#include "ctl/rings.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <tuple>
#include <utility>

#include "ctl/text.h"
#include "kube/codec/json.h"
#include "membership/ring_object.h"
#include "membership/ring_roster.h"
#include "ring/names.h"
#include "ring/resources.h"

namespace sharder::ctl {

using nlohmann::json;

ring::ShardStatus status_of(const Shard& shard) {
  return {.lease_namespace = shard.lease.id.lease_namespace,
          .name = shard.lease.id.name,
          .uid = shard.lease.uid,
          .state = shard.lease.state_label,
          .available = shard.available,
          .in_grace = shard.in_grace,
          .cordoned = shard.lease.cordoned};
}

std::shared_ptr<const ring::RingEntry> entry_of(const ring::RingSet& rings, const ring::RingObject& ring) {
  const auto found = rings.rings.find(ring.spec.name);
  return found != rings.rings.end() ? found->second
                                    : std::make_shared<const ring::RingEntry>(
                                          ring.spec, std::make_shared<const ring::Ring>(std::vector<std::string>()));
}

std::string state_text(const Shard& shard) {
  return std::string(to_string(shard.state)) + (shard.lease.cordoned ? ",cordoned" : "") +
         (shard.in_grace ? ",grace" : "");
}

const Condition* RingFacts::condition(std::string_view type) const {
  const auto found = std::ranges::find(conditions, type, &Condition::type);
  return found == conditions.end() ? nullptr : &*found;
}

const Shard* RingFacts::find_shard(std::string_view name) const {
  const Shard* found = nullptr;
  for (const Shard& shard : shards) {
    if (shard.lease.id.name == name && (found == nullptr || shard.member)) {
      found = &shard;
    }
  }
  return found;
}

std::vector<std::string> RingFacts::shard_names() const {
  std::vector<std::string> names;
  std::ranges::transform(shards, std::back_inserter(names), [](const Shard& shard) { return shard.lease.id.name; });
  return names;
}

Result<RingFacts> decode_ring_facts(const json& ring) {
  auto object = membership::decode_ring(ring.dump());
  if (!object) {
    return std::unexpected(std::move(object.error()));
  }
  RingFacts facts{.object = *std::move(object), .conditions = {}, .shards = {}, .entry = {}};
  for (const json& one : kube::elements_of(kube::value_at(ring, "/status/conditions"))) {
    facts.conditions.push_back({.type = kube::string_at(one, "/type"),
                                .status = kube::string_at(one, "/status"),
                                .reason = kube::string_at(one, "/reason"),
                                .message = kube::string_at(one, "/message")});
  }
  return facts;
}

std::vector<Shard> enrol(std::vector<RingFacts>& rings, std::vector<membership::ShardLease> leases, WallTime at) {
  std::ranges::sort(leases, {}, [](const membership::ShardLease& lease) {
    return std::tie(lease.id.name, lease.id.lease_namespace);
  });
  membership::RingRoster roster;
  for (const RingFacts& ring : rings) {
    roster.put_ring(ring.object);
  }
  std::vector<Shard> strays;
  for (membership::ShardLease& lease : leases) {
    const auto ring = std::ranges::find(rings, lease.ring, &RingFacts::name);
    if (ring == rings.end()) {
      const auto state = membership::judge(lease, at).state;
      const bool available = lease.held();
      strays.push_back({.lease = std::move(lease), .state = state, .available = available});
      continue;
    }
    const bool in_grace = membership::in_grace(lease, ring->object.grace_period);
    const bool available = lease.held() || in_grace;
    const auto state = membership::judge(lease, at, ring->object.grace_period).state;
    ring->shards.push_back({.lease = std::move(lease), .state = state, .available = available, .in_grace = in_grace});
    roster.put_shard(ring->name(), status_of(ring->shards.back()));
  }
  const auto entries = roster.publish().ring_set;
  for (RingFacts& ring : rings) {
    ring.entry = entry_of(*entries, ring.object);
    for (Shard& shard : ring.shards) {
      shard.member = shard.available && ring.entry->ring().contains(shard.lease.id.name);
    }
  }
  return strays;
}

Result<Rings> read_rings(Cluster& cluster) {
  Rings read;
  auto listed = cluster.list(kube::kControllerRings, "", "", [&read](const json& object) {
    if (auto ring = decode_ring_facts(object)) {
      read.rings.push_back(*std::move(ring));
    }
  });
  if (!listed) {
    if (listed.error().code == ErrorCode::kNotFound) {
      listed.error().message =
          "this cluster has no ControllerRings: the CRD is not installed. Install it from a copy of Sharder: kubectl "
          "apply --server-side -k manifests/crd";
    }
    return std::unexpected(std::move(listed.error()));
  }
  std::ranges::sort(read.rings, {}, &RingFacts::name);
  std::vector<membership::ShardLease> leases;
  listed = cluster.list(kube::kLeases, "", std::string(ring::kRingLabel), [&leases](const json& object) {
    if (auto lease = membership::decode_shard_lease(object.dump())) {
      leases.push_back(*std::move(lease));
    }
  });
  if (!listed) {
    return std::unexpected(std::move(listed.error()));
  }
  read.strays = enrol(read.rings, std::move(leases), SystemClock().wall());
  return read;
}

Result<RingFacts> read_ring(Cluster& cluster, const std::string& name) {
  auto read = read_rings(cluster);
  if (!read) {
    return std::unexpected(std::move(read.error()));
  }
  const auto found = std::ranges::find(read->rings, name, &RingFacts::name);
  if (found != read->rings.end()) {
    return std::move(*found);
  }
  std::vector<std::string> names;
  std::ranges::transform(read->rings, std::back_inserter(names), &RingFacts::name);
  return fail(ErrorCode::kNotFound, "there is no ring \"" + name + "\"" + what_there_is(name, names));
}

std::vector<RingResource> resolve_resources(Cluster& cluster, const RingFacts& ring, std::vector<Gap>& gaps) {
  std::vector<RingResource> resolved;
  for (const ring::GroupResource& name : ring::resources_of(ring.object.spec)) {
    if (auto resource = cluster.resolve(name)) {
      resolved.push_back({.resource = *std::move(resource), .role = ring.entry->role(name.group, name.resource)});
    } else {
      gaps.push_back({.verb = "discover", .resource = to_string(name), .error = std::move(resource.error())});
    }
  }
  return resolved;
}

}  // namespace sharder::ctl
