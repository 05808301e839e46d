#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "membership/lease_keeper.h"
#include "membership/ring_roster.h"
#include "ring/ring_object.h"
#include "ring/ring_set.h"
#include "ring/snapshot.h"

namespace sharder::membership {

// What to do after some inputs, in this order: publish, notify the listeners, carry out the actions.
struct LedgerOutput {
  std::shared_ptr<const ring::RingSet> ring_set;   // null: as before
  std::shared_ptr<const ring::Snapshot> snapshot;  // null: as before
  std::vector<Change> changes;
  std::vector<std::string> calculated;  // rings whose tokens were computed
  std::vector<ShardLease> deleted;      // Leases that somebody deleted while their shard held them, of rings that exist
  std::vector<LeaseTrouble> troubles;
  std::vector<Action> actions;  // the leader's; give each result to action_finished()
};

// All decisions of membership, without I/O, clock or threads. What the watches show goes in, with the time; take()
// returns what to publish and what to do. RingRoster has the rings and their shards, LeaseKeeper the leader's work. The
// Ledger itself follows the two lists, and returns nothing before both are complete (design, 6.2).
class Ledger {
 public:
  // `seed`: for the jitter of retries.
  explicit Ledger(std::uint64_t seed) : keeper_(seed) {}

  // A list of all rings begins; those that are not shown until rings_listed() do not exist (any more).
  void list_rings();
  void ring_shown(ring::RingObject object);
  void ring_gone(const std::string& name);
  void rings_listed();

  // Likewise for shard Leases.
  void list_leases();
  void lease_shown(ShardLease lease, Now now);
  void lease_gone(const LeaseId& id);
  void leases_listed();

  bool rings_synced() const { return rings_synced_; }
  // Both lists were complete once. Never false again.
  bool synced() const { return rings_synced_ && leases_synced_; }

  void lease_watch_opened() { keeper_.watch_opened(); }
  void lease_watch_lost() { keeper_.watch_lost(); }

  // The next probe (HealthyTime) is a quorum read of this Lease; nullopt: none is needed now.
  std::optional<LeaseId> probe_target() const { return keeper_.probe_target(); }
  // A probe was answered: with the Lease, or with nullopt because it does not exist.
  void probe_succeeded(std::optional<ShardLease> lease, Now now);
  void probe_failed() { keeper_.probe_failed(); }

  void set_leading(bool leading) { keeper_.set_leading(leading); }
  bool leading() const { return keeper_.leading(); }
  void action_finished(const Action& action, Result<ActionAnswer> answer, Now now);

  LedgerOutput take(Now now);
  // When take() has something to do even if nothing more goes in; nullopt: never.
  std::optional<SteadyTime> next_due() const;

 private:
  void note_deletion(const ShardLease& lease);
  // Updates the roster with what the keeper knows of the Lease, which may have gone.
  void enrol(const LeaseId& id);

  RingRoster roster_;
  LeaseKeeper keeper_;
  std::map<LeaseId, std::string> enrolled_;  // the ring in whose roster each Lease is
  std::vector<ShardLease> deleted_;          // since the last take()
  bool rings_synced_ = false;
  bool leases_synced_ = false;
  // During a list: what it has not shown yet.
  std::optional<std::set<std::string>> unseen_rings_;
  std::optional<std::set<LeaseId>> unseen_leases_;
};

}  // namespace sharder::membership
