#include "ctl/suspects.h"

#include "ctl/text.h"
#include "ring/object_key.h"

namespace sharder::ctl {

namespace {

std::string shard_text(const std::string& shard) {
  return shard.empty() ? "no shard" : shard;
}

// What a sharder that works would do by itself.
std::string wait_for_leader(const RingFacts& ring) {
  return "a leading sharder mends it within seconds: look at SHD501 and SHD401; then ask it for a pass with sharderctl "
         "rebalance " +
         ring.name();
}

std::string advice_of(const RingFacts& ring, Check check) {
  switch (check) {
    case Check::kOnUnknownShard:
      return "if a shard of this name runs, it has lost its Lease: restart it; else " + wait_for_leader(ring);
    case Check::kAwayFromOwner:
      return "the owner's shard does not see it; find out who set the label with sharderctl explain; " +
             wait_for_leader(ring);
    default:
      return wait_for_leader(ring);
  }
}

std::string message_of(const Suspect& suspect, Check check, const std::optional<std::string>& owner_shard) {
  const auto& [kind, shard, desired] = suspect.suspicion;
  switch (check) {
    case Check::kUnassigned:
      return "it has no shard label, and belongs to " + desired;
    case Check::kOnDeadShard:
      return "its label names " + shard + ", which does not hold its Lease; it belongs to " + desired;
    case Check::kOnUnknownShard:
      return "its label names " + shard + ", which has no Lease in this ring; it belongs to " + desired;
    case Check::kAwayFromOwner:
      return "it is on " + shard + ", its owner " + suspect.object.controller->kind + "/" +
             suspect.object.controller->name +
             (owner_shard ? " is on " + shard_text(*owner_shard) : " belongs to " + desired);
    default:
      return "it is on " + shard + ", belongs to " + desired + ", and does not drain";
  }
}

}  // namespace

std::optional<Suspicion> suspicion_of(const RingFacts& ring, const RingResource& resource, const Selection& selection,
                                      const kube::ObjectMeta& object, rebalancer::Placement& placement) {
  rebalancer::find_placement(placement, *ring.entry, resource.role, resource.resource, object);
  const auto owner = placement.key.empty() ? std::nullopt : ring.entry->ring().owner(placement.key);
  if (!owner || placement.shard == *owner || selection.selects(resource.resource, object) != true) {
    return std::nullopt;
  }
  Suspicion suspicion{.check = Check::kMisplaced, .shard = placement.shard, .desired = std::string(*owner)};
  const Shard* const shard = ring.find_shard(placement.shard);
  if (placement.shard.empty()) {
    if (placement.draining) {
      return std::nullopt;  // Drains has it
    }
    suspicion.check = Check::kUnassigned;
  } else if (shard == nullptr) {
    suspicion.check = Check::kOnUnknownShard;
  } else if (!shard->available) {
    suspicion.check = Check::kOnDeadShard;
  } else if (resource.role == ring::Role::kControlled) {
    suspicion.check = Check::kAwayFromOwner;
  } else if (placement.draining) {
    return std::nullopt;
  }
  return suspicion;
}

void Suspects::consider(const kube::ObjectMeta& object) {
  auto suspicion = suspicion_of(ring_, resource_, selection_, object, placement_);
  if (!suspicion) {
    return;
  }
  OfCheck& found = found_[suspicion->check];
  ++found.count;
  if (found.examples.size() < kExamples) {
    found.examples.push_back({.object = object, .suspicion = *std::move(suspicion)});
  }
}

Finding finding_of(const RingFacts& ring, const RingResource& resource, const Suspect& suspect, std::int64_t count,
                   const std::optional<std::string>& owner_shard) {
  const bool with_owner = suspect.suspicion.check == Check::kAwayFromOwner && owner_shard == suspect.suspicion.shard;
  const Check check = with_owner ? Check::kMisplaced : suspect.suspicion.check;
  return {
      .check = check,
      .ring = ring.name(),
      .object = name_of(resource.resource) + " " + object_name(suspect.object.object_namespace, suspect.object.name),
      .message = message_of(suspect, check, owner_shard),
      .advice = advice_of(ring, check),
      .count = count};
}

void Drains::add(DrainFacts drain) {
  OfShard& shard = shards_[drain.shard];
  ++shard.count;
  shard.overdue += drain.since && now_ - *drain.since > overdue_ ? 1 : 0;
  if (shard.count == 1 || (drain.since && (!shard.oldest.since || *drain.since < *shard.oldest.since))) {
    shard.oldest = std::move(drain);
  }
}

std::vector<Finding> Drains::findings(const RingFacts& ring) const {
  std::vector<Finding> found;
  for (const auto& [name, drains] : shards_) {
    const std::string& example = drains.oldest.object;
    if (name.empty()) {
      found.push_back({.check = Check::kDrainWithoutShard,
                       .ring = ring.name(),
                       .object = example,
                       .message = "it has the label " + ring.entry->drain_label() + ", and no shard has to let it go",
                       .advice = "remove the drain label: kubectl label ... " + ring.entry->drain_label() + "-",
                       .count = drains.count});
      continue;
    }
    if (drains.overdue == 0) {
      continue;
    }
    const std::string age = short_duration(std::chrono::floor<std::chrono::seconds>(now_ - *drains.oldest.since));
    const Shard* const shard = ring.find_shard(name);
    if (shard != nullptr && shard->state == membership::LeaseState::kReady && drains.overdue == drains.count) {
      found.push_back({.check = Check::kShardHangs,
                       .ring = ring.name(),
                       .object = "leases " + to_string(shard->lease.id),
                       .message = std::string("it is renewed, and its shard has not let go of any of ")
                                      .append(count_of(drains.count, "object"))
                                      .append(", such as ")
                                      .append(example)
                                      .append(" for ")
                                      .append(age),
                       .advice = "look at the shard's log, then delete its pod: it lets go when it starts anew",
                       .count = 1});
    } else {
      found.push_back({.check = Check::kDrainOverdue,
                       .ring = ring.name(),
                       .object = example,
                       .message = std::string("it has drained for ")
                                      .append(age)
                                      .append(", and ")
                                      .append(name)
                                      .append(" has not let it go"),
                       .advice = "look at the log of " + name + ": a reconciliation may take long, or hang",
                       .count = drains.overdue});
    }
  }
  return found;
}

}  // namespace sharder::ctl
