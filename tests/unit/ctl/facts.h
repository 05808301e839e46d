#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "ctl/rings.h"
#include "ctl/selection.h"
#include "ring/names.h"

// Rings, Leases and objects as the API server shows them.
namespace sharder::ctl::facts {

inline constexpr WallTime kNow = std::chrono::sys_days(std::chrono::year(2026) / 11 / 23);
inline constexpr const char* kTime = "2026-11-23T00:00:00.000000Z";

inline nlohmann::json ring(const std::string& name) {
  return {{"apiVersion", "sharding.timebertt.dev/v1alpha1"},
          {"kind", "ControllerRing"},
          {"metadata", {{"name", name}, {"uid", "u"}, {"generation", 1}}},
          {"spec",
           {{"resources",
             {{{"group", ""},
               {"resource", "secrets"},
               {"controlledResources", {{{"group", ""}, {"resource", "configmaps"}}}}}}}}},
          {"status", {{"conditions", {{{"type", "Ready"}, {"status", "True"}, {"reason", "R"}, {"message", "m"}}}}}}};
}

inline nlohmann::json lease(const std::string& ring, const std::string& name, const std::string& holder,
                            const std::string& acquired = kTime) {
  return {{"apiVersion", "coordination.k8s.io/v1"},
          {"kind", "Lease"},
          {"metadata", {{"name", name}, {"namespace", "shards"}, {"labels", {{ring::kRingLabel, ring}}}}},
          {"spec",
           {{"holderIdentity", holder},
            {"leaseDurationSeconds", 15},
            {"acquireTime", acquired},
            {"renewTime", kTime},
            {"leaseTransitions", 1}}}};
}

inline nlohmann::json cordoned(nlohmann::json lease) {
  lease["metadata"]["annotations"][ring::kCordonedAnnotation] = "true";
  return lease;
}

inline RingFacts with_leases(const std::vector<nlohmann::json>& leases) {
  std::vector<RingFacts> rings{*decode_ring_facts(ring("ring"))};
  std::vector<membership::ShardLease> all;
  for (const nlohmann::json& one : leases) {
    all.push_back(*membership::decode_shard_lease(one.dump()));
  }
  enrol(rings, std::move(all), kNow);
  return std::move(rings.front());
}

// A ring whose members have these names.
inline RingFacts with_members(const std::vector<std::string>& names) {
  std::vector<nlohmann::json> leases;
  for (const std::string& name : names) {
    leases.push_back(lease("ring", name, name));
  }
  return with_leases(leases);
}

inline const RingResource kSecrets{.resource = {"", "v1", "secrets", "Secret", true}, .role = ring::Role::kMain};
inline const RingResource kConfigMaps{.resource = {"", "v1", "configmaps", "ConfigMap", true},
                                      .role = ring::Role::kControlled};

inline kube::ObjectMeta secret(const std::string& name, const std::string& shard) {
  kube::ObjectMeta object{.name = name,
                          .object_namespace = "ns",
                          .uid = "uid-" + name,
                          .resource_version = "7",
                          .labels = {},
                          .controller = {}};
  if (!shard.empty()) {
    object.labels.emplace_back(ring::shard_label("ring"), shard);
  }
  return object;
}

inline kube::ObjectMeta config_map(const std::string& name, const std::string& owner, const std::string& shard) {
  kube::ObjectMeta object = secret(name, shard);
  object.controller = kube::OwnerReference{.api_version = "v1", .kind = "Secret", .name = owner};
  return object;
}

// A name whose Secret belongs to `shard`.
inline std::string name_for(const RingFacts& ring, std::string_view shard) {
  for (int number = 0;; ++number) {
    const std::string name = "s-" + std::to_string(number);
    if (ring.entry->ring().owner("/Secret/ns/" + name) == shard) {
      return name;
    }
  }
}

inline Selection everything() {
  Selection selection;
  selection.selector = {};
  return selection;
}

}  // namespace sharder::ctl::facts
