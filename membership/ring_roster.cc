#include "membership/ring_roster.h"

#include <algorithm>
#include <utility>

#include "ring/names.h"

namespace sharder::membership {

namespace {

// Whether the ring can be in a RingSet. Its name is part of label keys; if it is too long, the API server rejects them.
bool has_usable_name(const ring::RingObject& object) {
  return object.spec.name.size() <= ring::kMaxRingNameLength;
}

using Shards = std::map<LeaseId, ring::ShardStatus>;

// The names of the available shards, and whether they are cordoned: one Lease of the name is enough. Names that are no
// label values are left out: with them the API server would reject the users' objects (protocol, 4).
std::map<std::string, bool> available_names(const Shards& shards) {
  std::map<std::string, bool> names;
  for (const auto& [id, shard] : shards) {
    if (shard.available && ring::is_label_value(shard.name)) {
      bool& cordoned = names[shard.name];
      cordoned = cordoned || shard.cordoned;
    }
  }
  return names;
}

bool are_all_cordoned(const std::map<std::string, bool>& available) {
  return !available.empty() && std::ranges::all_of(available, [](const auto& shard) { return shard.second; });
}

// The available shards. A ring with available shards has members: when all are cordoned, the cordons have no effect.
struct Standing {
  std::vector<std::string> members;
  std::vector<std::string> cordoned;
};

Standing standing_of(const Shards& shards) {
  const auto available = available_names(shards);
  const bool all_cordoned = are_all_cordoned(available);
  Standing standing;
  for (const auto& [name, cordoned] : available) {
    (cordoned && !all_cordoned ? standing.cordoned : standing.members).push_back(name);
  }
  return standing;
}

// Whether nothing has changed that listeners act on.
bool stand_alike(const ring::ShardStatus& a, const ring::ShardStatus& b) {
  return a.lease_namespace == b.lease_namespace && a.name == b.name && a.uid == b.uid && a.available == b.available &&
         a.cordoned == b.cordoned;
}

}  // namespace

RingRoster::Roster& RingRoster::touch(const std::string& ring) {
  Roster& roster = rosters_[ring];
  if (!std::exchange(roster.dirty, true)) {
    dirty_.push_back(ring);
  }
  return roster;
}

void RingRoster::put_ring(ring::RingObject object) {
  if (const ring::RingObject* known = find_ring(object.spec.name); known == nullptr || *known != object) {
    Roster& roster = touch(object.spec.name);
    roster.object = std::move(object);
  }
}

void RingRoster::remove_ring(const std::string& name) {
  if (find_ring(name) != nullptr) {
    touch(name).object.reset();
  }
}

const ring::RingObject* RingRoster::find_ring(const std::string& name) const {
  const auto found = rosters_.find(name);
  return found == rosters_.end() || !found->second.object ? nullptr : &*found->second.object;
}

std::vector<std::string> RingRoster::ring_names() const {
  std::vector<std::string> names;
  for (const auto& [name, roster] : rosters_) {
    if (roster.object) {
      names.push_back(name);
    }
  }
  return names;
}

void RingRoster::put_shard(const std::string& ring, const ring::ShardStatus& shard) {
  const LeaseId id{.lease_namespace = shard.lease_namespace, .name = shard.name};
  if (const auto known = rosters_.find(ring); known != rosters_.end()) {
    const auto found = known->second.shards.find(id);
    if (found != known->second.shards.end() && found->second == shard) {
      return;
    }
  }
  touch(ring).shards.insert_or_assign(id, shard);
}

void RingRoster::remove_shard(const std::string& ring, const LeaseId& id) {
  const auto known = rosters_.find(ring);
  if (known == rosters_.end()) {
    return;
  }
  if (const auto found = known->second.shards.find(id); found != known->second.shards.end()) {
    touch(ring).shards.erase(found);
  }
}

bool RingRoster::renew_entry(Roster& roster, bool& calculated) {
  if (!roster.object || !has_usable_name(*roster.object)) {
    const bool was_there = roster.entry != nullptr;
    roster.entry.reset();
    roster.ring.reset();
    return was_there;
  }
  Standing standing = standing_of(roster.shards);
  if (!roster.ring || roster.ring->shards() != standing.members) {
    roster.ring = std::make_shared<const ring::Ring>(std::move(standing.members));
    calculated = true;
  }
  if (roster.entry && &roster.entry->ring() == roster.ring.get() && roster.entry->spec() == roster.object->spec &&
      roster.entry->cordoned() == standing.cordoned) {
    return false;
  }
  roster.entry =
      std::make_shared<const ring::RingEntry>(roster.object->spec, roster.ring, std::move(standing.cordoned));
  return true;
}

void RingRoster::renew_status(Roster& roster) {
  if (!roster.object) {
    roster.status.reset();
    return;
  }
  ring::RingStatus status{*roster.object};
  status.shards.reserve(roster.shards.size());
  for (const auto& [id, shard] : roster.shards) {
    status.shards.push_back(shard);
    status.available_shards += shard.available ? 1 : 0;
  }
  status.all_cordoned = are_all_cordoned(available_names(roster.shards));
  roster.status = std::make_shared<const ring::RingStatus>(std::move(status));
}

// The next RingSet and Snapshot, while they are built.
struct RingRoster::Draft {
  ring::RingSet ring_set;
  ring::Snapshot snapshot;
  bool ring_set_changed = false;
  bool snapshot_changed = false;
};

void RingRoster::renew(const std::string& name, Roster& roster, Draft& draft, News& news) {
  bool calculated = false;
  if (renew_entry(roster, calculated)) {
    draft.ring_set_changed = true;
    if (roster.entry) {
      draft.ring_set.rings.insert_or_assign(name, roster.entry);
    } else {
      draft.ring_set.rings.erase(name);
    }
  }
  if (calculated) {
    news.calculated.push_back(name);
  }
  const auto before = roster.status;
  renew_status(roster);
  if (roster.status) {
    draft.snapshot.rings.insert_or_assign(name, roster.status);
  } else {
    draft.snapshot.rings.erase(name);
  }
  draft.snapshot_changed = draft.snapshot_changed || before || roster.status;
  add_changes(name, before.get(), roster.status.get(), news.changes);
}

void RingRoster::add_changes(const std::string& name, const ring::RingStatus* before, const ring::RingStatus* after,
                             std::vector<Change>& changes) {
  if (before == nullptr || after == nullptr) {
    if (before != nullptr || after != nullptr) {
      changes.push_back({before == nullptr ? ChangeKind::kRingAdded : ChangeKind::kRingRemoved, name});
    }
    return;
  }
  if (before->spec != after->spec || before->spec_error != after->spec_error || before->deleting != after->deleting) {
    changes.push_back({ChangeKind::kRingChanged, name});
  }
  if (!std::ranges::equal(before->shards, after->shards, stand_alike) || before->grace_period != after->grace_period ||
      before->grace_period_error != after->grace_period_error) {
    changes.push_back({ChangeKind::kShardsChanged, name});
  }
  if (before->rebalance_requested_at != after->rebalance_requested_at && !after->rebalance_requested_at.empty()) {
    changes.push_back({ChangeKind::kRebalanceRequested, name});
  }
}

RingRoster::News RingRoster::publish() {
  News news;
  if (dirty_.empty() && ring_set_) {
    return news;
  }
  Draft draft;
  if (ring_set_) {
    draft.ring_set = *ring_set_;
    draft.snapshot = *snapshot_;
  }
  std::ranges::sort(dirty_);
  for (const std::string& name : std::exchange(dirty_, {})) {
    Roster& roster = rosters_.at(name);
    roster.dirty = false;
    renew(name, roster, draft, news);
    if (!roster.object && roster.shards.empty()) {
      rosters_.erase(name);
    }
  }
  if (draft.ring_set_changed || !ring_set_) {
    draft.ring_set.version = ++version_;
    news.ring_set = ring_set_ = std::make_shared<const ring::RingSet>(std::move(draft.ring_set));
  }
  if (draft.snapshot_changed || !snapshot_) {
    news.snapshot = snapshot_ = std::make_shared<const ring::Snapshot>(std::move(draft.snapshot));
  }
  return news;
}

}  // namespace sharder::membership
