#include "ctl/rings.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <tuple>
#include <utility>

#include "ctl/text.h"
#include "kube/codec/json.h"
#include "ring/names.h"
#include "ring/resources.h"

namespace sharder::ctl {

namespace {

using nlohmann::json;

WallTime now() {
  return SystemClock().wall();
}

// A name is cordoned when one of its available Leases is; when all are, the cordons have no effect.
void choose_members(RingFacts& ring) {
  std::map<std::string, bool> cordoned;  // of the available shards
  for (const Shard& shard : ring.shards) {
    if (shard.available && ring::is_label_value(shard.lease.id.name)) {
      bool& mark = cordoned[shard.lease.id.name];
      mark = mark || shard.cordoned;
    }
  }
  const bool all = std::ranges::all_of(cordoned, [](const auto& shard) { return shard.second; });
  std::vector<std::string> members;
  for (const auto& [name, mark] : cordoned) {
    if (all || !mark) {
      members.push_back(name);
    }
  }
  ring.entry =
      std::make_shared<const ring::RingEntry>(ring.object.spec, std::make_shared<const ring::Ring>(std::move(members)));
  for (Shard& shard : ring.shards) {
    shard.member = shard.available && ring.entry->ring().contains(shard.lease.id.name);
  }
}

}  // namespace

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

Result<Shard> decode_shard(const json& lease, WallTime at) {
  auto decoded = membership::decode_shard_lease(lease.dump());
  if (!decoded) {
    return std::unexpected(std::move(decoded.error()));
  }
  const auto state = membership::judge(*decoded, at).state;
  const bool cordoned =
      kube::string_of(kube::field_of(kube::value_at(lease, "/metadata/annotations"), kCordoned)) == "true";
  const bool available = decoded->held();
  return Shard{.lease = *std::move(decoded), .state = state, .cordoned = cordoned, .available = available};
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

std::vector<Shard> enrol(std::vector<RingFacts>& rings, std::vector<Shard> shards) {
  std::ranges::sort(shards, {},
                    [](const Shard& shard) { return std::tie(shard.lease.id.name, shard.lease.id.lease_namespace); });
  std::vector<Shard> strays;
  for (Shard& shard : shards) {
    const auto ring = std::ranges::find(rings, shard.lease.ring, &RingFacts::name);
    if (ring != rings.end()) {
      shard.available = shard.available || membership::in_grace(shard.lease, ring->object.grace_period);
    }
    (ring == rings.end() ? strays : ring->shards).push_back(std::move(shard));
  }
  for (RingFacts& ring : rings) {
    choose_members(ring);
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
  std::vector<Shard> shards;
  const WallTime at = now();
  listed = cluster.list(kube::kLeases, "", std::string(ring::kRingLabel), [&shards, at](const json& object) {
    if (auto shard = decode_shard(object, at)) {
      shards.push_back(*std::move(shard));
    }
  });
  if (!listed) {
    return std::unexpected(std::move(listed.error()));
  }
  read.strays = enrol(read.rings, std::move(shards));
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
