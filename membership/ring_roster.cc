#include "membership/ring_roster.h"

#include <algorithm>
#include <utility>

#include "ring/names.h"

namespace sharder::membership {

namespace {

// Whether the ring can be in a RingSet. Its name is part of label keys; if it is too long, the API server rejects them.
bool has_usable_name(const RingObject& object) {
  return object.spec.name.size() <= ring::kMaxRingNameLength;
}

}  // namespace

RingRoster::Roster& RingRoster::touch(const std::string& ring) {
  Roster& roster = rosters_[ring];
  if (!std::exchange(roster.dirty, true)) {
    dirty_.push_back(ring);
  }
  return roster;
}

void RingRoster::put_ring(RingObject object) {
  if (const RingObject* known = find_ring(object.spec.name); known == nullptr || *known != object) {
    Roster& roster = touch(object.spec.name);
    roster.object = std::move(object);
  }
}

void RingRoster::remove_ring(const std::string& name) {
  if (find_ring(name) != nullptr) {
    touch(name).object.reset();
  }
}

const RingObject* RingRoster::find_ring(const std::string& name) const {
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

void RingRoster::count(Roster& roster, const ring::ShardStatus& shard, bool available) {
  if (!ring::is_label_value(shard.name)) {
    return;  // with this label the API server would reject the users' objects (protocol, 4)
  }
  int& leases = roster.available[shard.name];
  leases += available ? 1 : -1;
  if (leases == 0) {
    roster.available.erase(shard.name);
  }
}

void RingRoster::put_shard(const std::string& ring, const ring::ShardStatus& shard) {
  const LeaseId id{.lease_namespace = shard.lease_namespace, .name = shard.name};
  if (const auto known = rosters_.find(ring); known != rosters_.end()) {
    const auto found = known->second.shards.find(id);
    if (found != known->second.shards.end() && found->second == shard) {
      return;
    }
  }
  Roster& roster = touch(ring);
  const auto [position, is_new] = roster.shards.try_emplace(id, shard);
  const bool was_available = !is_new && position->second.available;
  if (is_new || was_available != shard.available) {
    roster.shards_changed = true;
  }
  if (was_available != shard.available) {
    count(roster, shard, shard.available);
  }
  position->second = shard;
}

void RingRoster::remove_shard(const std::string& ring, const LeaseId& id) {
  const auto known = rosters_.find(ring);
  if (known == rosters_.end()) {
    return;
  }
  const auto found = known->second.shards.find(id);
  if (found == known->second.shards.end()) {
    return;
  }
  Roster& roster = touch(ring);
  if (found->second.available) {
    count(roster, found->second, false);
  }
  roster.shards.erase(found);
  roster.shards_changed = true;
}

bool RingRoster::renew_entry(Roster& roster, bool& calculated) {
  if (!roster.object || !has_usable_name(*roster.object)) {
    const bool was_there = roster.entry != nullptr;
    roster.entry.reset();
    roster.ring.reset();
    return was_there;
  }
  std::vector<std::string> members;
  members.reserve(roster.available.size());
  for (const auto& [name, leases] : roster.available) {
    members.push_back(name);
  }
  if (!roster.ring || roster.ring->shards() != members) {
    roster.ring = std::make_shared<const ring::Ring>(std::move(members));
    calculated = true;
  }
  if (roster.entry && &roster.entry->ring() == roster.ring.get() && roster.entry->spec() == roster.object->spec) {
    return false;
  }
  roster.entry = std::make_shared<const ring::RingEntry>(roster.object->spec, roster.ring);
  return true;
}

void RingRoster::renew_status(Roster& roster) {
  if (!roster.object) {
    roster.status.reset();
    return;
  }
  ring::RingStatus status{.spec = roster.object->spec,
                          .spec_error = roster.object->spec_error,
                          .deleting = roster.object->deleting,
                          .observed_generation = roster.object->observed_generation,
                          .status_shards = roster.object->status_shards,
                          .status_available_shards = roster.object->status_available_shards,
                          .ready = roster.object->ready,
                          .webhook_reachable = roster.object->webhook_reachable,
                          .shards = {},
                          .available_shards = 0};
  status.shards.reserve(roster.shards.size());
  for (const auto& [id, shard] : roster.shards) {
    status.shards.push_back(shard);
    status.available_shards += shard.available ? 1 : 0;
  }
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
  add_changes(name, before.get(), roster.status.get(), std::exchange(roster.shards_changed, false), news.changes);
}

void RingRoster::add_changes(const std::string& name, const ring::RingStatus* before, const ring::RingStatus* after,
                             bool shards_changed, std::vector<Change>& changes) {
  if (before == nullptr || after == nullptr) {
    if (before != nullptr || after != nullptr) {
      changes.push_back({before == nullptr ? ChangeKind::kRingAdded : ChangeKind::kRingRemoved, name});
    }
    return;
  }
  if (before->spec != after->spec || before->spec_error != after->spec_error || before->deleting != after->deleting) {
    changes.push_back({ChangeKind::kRingChanged, name});
  }
  if (shards_changed) {
    changes.push_back({ChangeKind::kShardsChanged, name});
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
