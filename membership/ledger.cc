#include "membership/ledger.h"

#include <utility>

namespace sharder::membership {

void Ledger::list_rings() {
  const auto names = roster_.ring_names();
  unseen_rings_.emplace(names.begin(), names.end());
}

void Ledger::ring_shown(ring::RingObject object) {
  if (unseen_rings_) {
    unseen_rings_->erase(object.spec.name);
  }
  const ring::RingObject* const known = roster_.find_ring(object.spec.name);
  const bool stands_otherwise = known == nullptr || known->grace_period != object.grace_period;
  const std::string name = object.spec.name;
  keeper_.ring_shown(name, object.grace_period);
  roster_.put_ring(std::move(object));
  if (stands_otherwise) {
    keeper_.for_each([&](const ShardLease& lease) {
      if (lease.ring == name) {
        enrol(lease.id);
      }
    });
  }
}

void Ledger::ring_gone(const std::string& name) {
  keeper_.ring_removed(name);
  roster_.remove_ring(name);
}

void Ledger::rings_listed() {
  for (const std::string& name : std::exchange(unseen_rings_, std::nullopt).value_or(std::set<std::string>())) {
    ring_gone(name);
  }
  rings_synced_ = true;
}

void Ledger::list_leases() {
  unseen_leases_.emplace();
  keeper_.list_begins();
  keeper_.for_each([this](const ShardLease& lease) { unseen_leases_->insert(lease.id); });
}

void Ledger::lease_shown(ShardLease lease, Now now) {
  if (unseen_leases_) {
    unseen_leases_->erase(lease.id);
  }
  const LeaseId id = lease.id;
  if (const ShardLease* const known = keeper_.find(id); known != nullptr && known->uid != lease.uid) {
    note_deletion(*known);  // and somebody has made it anew
  }
  if (keeper_.upsert(std::move(lease), LeaseKeeper::Source::kWatch, now)) {
    enrol(id);
  }
}

void Ledger::lease_gone(const LeaseId& id) {
  if (const ShardLease* const known = keeper_.find(id)) {
    note_deletion(*known);
  }
  keeper_.remove(id);
  enrol(id);
}

void Ledger::leases_listed() {
  for (const LeaseId& id : std::exchange(unseen_leases_, std::nullopt).value_or(std::set<LeaseId>())) {
    lease_gone(id);
  }
  leases_synced_ = true;
}

void Ledger::probe_succeeded(std::optional<ShardLease> lease, Now now) {
  keeper_.probe_succeeded(now);
  if (lease) {
    const LeaseId id = lease->id;
    if (keeper_.upsert(std::move(*lease), LeaseKeeper::Source::kAnswer, now)) {
      enrol(id);
    }
  }
}

void Ledger::action_finished(const Action& action, Result<ActionAnswer> answer, Now now) {
  keeper_.finished(action, std::move(answer), now);
  enrol(action.lease);
}

LedgerOutput Ledger::take(Now now) {
  LedgerOutput output;
  if (!synced()) {
    return output;
  }
  auto news = roster_.publish();
  output.ring_set = std::move(news.ring_set);
  output.snapshot = std::move(news.snapshot);
  output.changes = std::move(news.changes);
  output.calculated = std::move(news.calculated);
  output.deleted = std::exchange(deleted_, {});
  output.actions = keeper_.due(now);
  output.troubles = keeper_.take_troubles();
  return output;
}

std::optional<SteadyTime> Ledger::next_due() const {
  return synced() ? keeper_.next_due() : std::nullopt;
}

void Ledger::note_deletion(const ShardLease& lease) {
  if (lease.held() && roster_.find_ring(lease.ring) != nullptr) {
    deleted_.push_back(lease);
  }
}

void Ledger::enrol(const LeaseId& id) {
  const ShardLease* lease = keeper_.find(id);
  const auto known = enrolled_.find(id);
  if (known != enrolled_.end() && (lease == nullptr || lease->ring != known->second)) {
    roster_.remove_shard(known->second, id);
    enrolled_.erase(known);
  }
  if (lease != nullptr) {
    enrolled_.insert_or_assign(id, lease->ring);
    const ring::RingObject* const ring = roster_.find_ring(lease->ring);
    const bool is_in_grace = ring != nullptr && in_grace(*lease, ring->grace_period);
    roster_.put_shard(lease->ring, {.lease_namespace = id.lease_namespace,
                                    .name = id.name,
                                    .uid = lease->uid,
                                    .state = lease->state_label,
                                    .available = lease->held() || is_in_grace,
                                    .in_grace = is_in_grace,
                                    .cordoned = lease->cordoned});
  }
}

}  // namespace sharder::membership
