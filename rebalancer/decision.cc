#include "rebalancer/decision.h"

#include <functional>
#include <nlohmann/json.hpp>
#include <optional>

#include "ring/names.h"
#include "ring/object_key.h"

namespace sharder::rebalancer {

namespace {

void find_key(std::string& key, ring::Role role, const kube::Resource& resource, const kube::ObjectMeta& object) {
  if (role == ring::Role::kMain) {
    ring::object_key(key, resource.group, resource.kind, object.object_namespace, object.name);
    return;
  }
  const auto& owner = object.controller;
  if (role == ring::Role::kNone || !owner ||
      !ring::is_complete_reference(owner->api_version, owner->kind, owner->name)) {
    key.clear();
    return;
  }
  ring::object_key(key, ring::group_of(owner->api_version), owner->kind, object.object_namespace, owner->name);
}

}  // namespace

std::uint64_t object_hash(const kube::ObjectMeta& object) {
  return std::hash<std::string>()(object.uid.empty() ? object.object_namespace + "/" + object.name : object.uid);
}

void find_placement(Placement& placement, const ring::RingEntry& entry, ring::Role role, const kube::Resource& resource,
                    const kube::ObjectMeta& object) {
  find_key(placement.key, role, resource, object);
  placement.shard = object.label(entry.shard_label()).value_or("");
  placement.draining = object.label(entry.drain_label()).has_value();
}

Decision decide(const ring::RingEntry& entry, ring::Role role, const Placement& placement) {
  Decision decision{.has_drain_label = placement.draining};
  if (placement.key.empty()) {
    return decision;
  }
  const auto desired = entry.ring().owner(placement.key);
  if (!desired) {
    return decision;
  }
  if (placement.shard == *desired) {
    decision.kind = decision.has_drain_label ? MoveKind::kClearDrain : MoveKind::kNone;
  } else if (role == ring::Role::kControlled || !entry.is_available(placement.shard)) {
    decision.kind = MoveKind::kReassign;
    decision.shard = *desired;
    decision.is_orphan = !entry.is_available(placement.shard);
  } else if (!decision.has_drain_label) {
    decision.kind = MoveKind::kDrain;
    decision.shard = *desired;
  }
  return decision;
}

bool is_unassigned(const ring::RingEntry& entry, const Placement& placement) {
  return !placement.key.empty() && !entry.is_available(placement.shard);
}

bool is_misplaced(const Decision& decision) {
  return decision.kind == MoveKind::kDrain || (decision.kind == MoveKind::kReassign && !decision.is_orphan);
}

bool is_outdated(const ring::RingEntry& entry, const Placement& placement, std::string_view target) {
  if (placement.key.empty() || target.empty() || target == ring::kDrainLabelValue) {
    return false;
  }
  const auto desired = entry.ring().owner(placement.key);
  return desired && *desired != target;
}

std::string patch_body(const ring::RingEntry& entry, const Decision& decision, const kube::Precondition& precondition) {
  nlohmann::json labels = nlohmann::json::object();
  if (decision.kind == MoveKind::kReassign) {
    labels[entry.shard_label()] = decision.shard;
  }
  if (decision.kind == MoveKind::kDrain) {
    labels[entry.drain_label()] = decision.shard;
  } else if (decision.has_drain_label) {
    labels[entry.drain_label()] = nullptr;
  }
  return nlohmann::json{
      {"metadata", {{"resourceVersion", precondition.resource_version()}, {"labels", std::move(labels)}}}}
      .dump();
}

}  // namespace sharder::rebalancer
