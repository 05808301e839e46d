#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "kube/client/common_failure.h"
#include "kube/client/retries.h"
#include "kube/codec/precondition.h"
#include "membership/healthy_time.h"
#include "membership/lease_state.h"
#include "membership/shard_lease.h"

namespace sharder::membership {

// The time at which something is decided.
struct Now {
  WallTime wall;      // compared with what stands in Leases
  SteadyTime steady;  // everything else
};

enum class ActionKind {
  kSetLabel,           // merge patch of the state label, with resourceVersion
  kRead,               // a quorum read: before a take-over, after a conflict, or without a resourceVersion
  kTakeOver,           // PUT `body`, which carries the resourceVersion
  kDelete,             // with uid and resourceVersion as preconditions
  kRecordInvalidName,  // record an Event: the shard's name is no label value
};

// Something for the leader to do. Carry it out and give its result to LeaseKeeper::finished(), success or not
// (kRecordInvalidName has none).
struct Action {
  ActionKind kind = ActionKind::kSetLabel;
  LeaseId lease;
  std::string uid;
  std::optional<kube::Precondition> precondition;  // what it was decided on; every write has one
  std::string ring;
  LeaseState state = LeaseState::kReady;           // of the Lease when this was decided
  std::optional<kube::VersionedObject> body = {};  // kTakeOver
};

// The answer to an action: the Lease as the API server returned it and, for kRead, also its JSON. Both are empty for
// kDelete.
struct ActionAnswer {
  std::optional<ShardLease> lease;
  std::string document;
};

// A lasting failure of the actions on a ring's Leases; nullopt: it has ended.
struct LeaseTrouble {
  std::string ring;
  std::optional<Error> error;
};

// What the leader does about shard Leases (protocol, 3 and 9): it sets state labels, takes over the Leases of
// shards that renew no more, and deletes orphaned ones. A pure state machine: no I/O, no clock, no thread. It runs in
// every replica: a standby observes renewals too, so it does not begin at zero when it becomes the leader. Only the
// leader gets actions.
//
// One action per Lease is under way at a time. Each carries the resourceVersion it was decided on; a Lease that is
// shown without one is read first. After a conflict the Lease is decided anew when the newer version has come, by the
// watch or else by a read of that Lease; one that was not found, when the watch shows a change. After another failure
// it is decided anew when a pause is over, which grows per Lease. Pauses also grow between two labels of the same
// state, when something removes them again and again; another state is labelled at once.
//
//   due ──► state label wrong: kSetLabel ──► (answer) ─┐
//    ▲      uncertain, and no renewal seen for         │
//    │        leaseDuration of HealthyTime, or in      │
//    │        grace, and that is over: kRead ────────► same version: kTakeOver
//    │      orphaned: kDelete                          │
//    └──── a new version, time, a probe's success ◄────┘
//
// A lasting failure (kube::LastingFailure) is given out once for all Leases of a ring (take_troubles()), and tried with
// pauses of up to a minute. These pauses end when writes work again: an action that failed so succeeds, or shards renew
// again after a time in which none did.
//
// When a request about a Lease gets no answer or a server error (kube::may_be_done), the observation of that Lease
// begins anew: a server that accepts reads but no writes does not accept the shards' renewals either. The state label
// is tried again and again, so it is the first write to succeed when the server accepts writes again; then the
// observation begins anew once more, because long pauses may have passed before.
class LeaseKeeper {
 public:
  // `seed`: for the jitter of pauses.
  explicit LeaseKeeper(std::uint64_t seed);

  // Where a version of a Lease comes from. Answers to our own requests may be ahead of the watch.
  enum class Source { kWatch, kAnswer };
  // Stores this version of the Lease, unless it is older than the known one. True when it was stored.
  // O(log n) for n Leases.
  bool upsert(ShardLease lease, Source source, Now now);
  void remove(const LeaseId& id);
  // The watch begins anew with a list. What the list shows counts, even where an answer to a request of ours was newer:
  // the server's data may be an older copy.
  void list_begins();
  // nullptr when there is none; valid until the next call that is not const.
  const ShardLease* find(const LeaseId& id) const;
  void for_each(const std::function<void(const ShardLease&)>& visit) const;

  // Which rings exist, and how long their shards keep their place after they have gone (decision 11). Leases of others
  // are left alone.
  void ring_shown(const std::string& ring, std::chrono::nanoseconds grace_period = {});
  void ring_removed(const std::string& ring);
  void set_leading(bool leading);
  bool leading() const { return leading_; }

  void watch_opened() { healthy_.watch_opened(); }
  void watch_lost() { healthy_.watch_lost(); }
  // The Lease whose quorum read is the next probe: of those that are held or in grace, the one that has gone longest
  // without a change. Without such a Lease there is nothing to probe for.
  std::optional<LeaseId> probe_target() const;
  void probe_succeeded(Now now);
  void probe_failed() { healthy_.probe_failed(); }

  // The result of an action. The answer to kSetLabel, kRead and kTakeOver has the Lease, that to kDelete has nothing.
  void finished(const Action& action, Result<ActionAnswer> answer, Now now);

  // The actions that are due now.
  std::vector<Action> due(Now now);
  // The lasting failures that began or ended since the last call.
  std::vector<LeaseTrouble> take_troubles() { return std::exchange(new_troubles_, {}); }
  // When due() has something to do again; nullopt: never.
  std::optional<SteadyTime> next_due() const;

 private:
  // The state label that we set last.
  struct Label {
    std::optional<LeaseState> state;
    int times = 0;  // in a row
    SteadyTime at = {};
    SteadyTime not_before = SteadyTime::min();  // until then it is not set again
  };
  struct Entry {
    ShardLease lease = {};
    Label label = {};
    SteadyTime ahead_until = SteadyTime::min();  // `lease` came in an answer: until then the watch may show older ones
    HealthyTime::Mark renewed{};                 // when its tenure was last seen to change
    SteadyTime due = SteadyTime::max();
    bool in_flight = false;
    bool until_changed = false;  // not_before ends early when a new version comes
    bool outdated = false;       // a write met a newer version: read it
    SteadyTime not_before = SteadyTime::min();
    kube::Retries retries;
    bool unwritable = false;                    // the last write got no answer or a server error
    bool invalid_name_recorded = false;         // kRecordInvalidName was given out
    bool was_available = false;                 // when it was last considered
    SteadyTime kept_until = SteadyTime::min();  // not deleted before: its shard has left the ring just now
    std::optional<Action> next = {};            // kTakeOver, when kRead found nothing new
  };

  void consider(Entry& entry, Now now, std::vector<Action>& actions);
  void start(Entry& entry, ActionKind kind, LeaseState state, std::vector<Action>& actions);
  void verified(Entry& entry, const Action& action, const ActionAnswer& answer, Now now);
  void failed(Entry& entry, const Action& action, const Error& error, Now now);
  static void wait_for_watch(Entry& entry, Now now);
  void label_set(Label& label, LeaseState state, Now now);
  void end_trouble(const ShardLease& lease);
  // As if no action for it had failed.
  void forget_failures(Entry& entry);
  void works(Entry& entry, Now now);
  void renewal_seen(Now now);
  // Ends the pauses of the Leases with a lasting failure.
  void hasten();
  void schedule(Entry& entry, SteadyTime at);
  std::chrono::nanoseconds grace_period_of(const ShardLease& lease) const;
  bool may_take_over(const Entry& entry, LeaseState state) const;
  static bool is_decided_on(const Action& action, const ShardLease& lease);

  std::minstd_rand seeds_;
  std::minstd_rand label_random_;
  bool leading_ = false;
  HealthyTime healthy_;
  std::map<std::string, std::chrono::nanoseconds, std::less<>> rings_;  // with their grace periods
  std::map<LeaseId, Entry> leases_;
  std::set<std::pair<SteadyTime, LeaseId>> agenda_;               // each Entry with a `due` that is not max()
  std::set<LeaseId> suspects_;                                    // uncertain or in grace, but not yet for long enough
  std::map<std::string, kube::CommonFailure<LeaseId>> troubles_;  // by ring: its Leases that fail for long
  std::vector<LeaseTrouble> new_troubles_;
  std::optional<SteadyTime> last_renewal_;  // of any Lease
};

}  // namespace sharder::membership
