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

#include "base/backoff.h"
#include "base/clock.h"
#include "base/error.h"
#include "kube/client/lasting_failure.h"
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
  kSetLabel,    // merge patch of the state label, with resourceVersion
  kRead,        // a quorum read of the Lease: before a take-over, after a conflict, and where its version is not known
  kTakeOver,    // PUT `body`, which carries the resourceVersion
  kDelete,      // with uid and resourceVersion as preconditions
  kRejectName,  // tell with an Event that the shard's name is no label value; nobody reports back
};

// Something for the leader to do. Carry it out and report it with LeaseKeeper::finished(), success or not.
struct Action {
  ActionKind kind = ActionKind::kSetLabel;
  LeaseId lease;
  std::string uid;
  std::optional<kube::Precondition> version;  // that it was decided on; without, only kRead
  std::string ring;
  LeaseState state = LeaseState::kReady;         // that the Lease was in
  std::optional<kube::GuardedObject> body = {};  // kTakeOver
};

// What came of an action: the Lease as the API server answered, as a value and as its JSON (kRead); neither for
// kDelete.
struct ActionAnswer {
  std::optional<ShardLease> lease;
  std::string document;
};

// That actions on Leases of a ring fail and fail; nullopt: not any more.
struct LeaseTrouble {
  std::string ring;
  std::optional<Error> error;
};

// What the leader does about shard Leases (protocol, 3 and 9): sets state labels, takes over the Leases of shards that
// are gone, deletes orphaned ones. A pure state machine: no I/O, no clock, no thread. It runs in every replica, because
// a standby observes renewals too and so need not begin at zero when it becomes the leader; only the leader gets
// actions. Per Lease one action is under way at a time; each carries the resourceVersion it was decided on; a Lease
// that is shown without one is read first. After a conflict it is decided anew when the newer version has come, by the
// watch or else by a read of that Lease; after another failure when a pause is over, which grows per Lease. So do
// pauses between two labels of the same state, which somebody takes off again and again; another state is labelled at
// once.
//
//   due ──► state label wrong: kSetLabel ──► (answer) ─┐
//    ▲      uncertain, and no renewal seen for         │
//    │        leaseDuration of HealthyTime: kRead ──► same version: kTakeOver
//    │      orphaned: kDelete                          │
//    └──── a new version, time, a probe's success ◄────┘
//
// What fails and fails (kube::LastingFailure) is trouble of the Lease's ring, told once for all its Leases, and tried
// with pauses of up to a minute. They end when writes evidently work again: one that failed so succeeds, or shards
// renew again after a time in which none did.
//
// A request about a Lease that the API server did not answer restarts the observation of that Lease: a server that
// takes reads but no writes does not take the shards' renewals either, and the retried state label notices first when
// it takes them again.
class LeaseKeeper {
 public:
  // `seed`: of the pauses' jitter.
  explicit LeaseKeeper(std::uint64_t seed);

  // Where a version of a Lease comes from. Answers to our own requests may be ahead of the watch.
  enum class Source { kWatch, kAnswer };
  // Takes the version in, unless it is older than the one that is known. True when it was taken.
  // O(log n) for n Leases.
  bool upsert(ShardLease lease, Source source, Now now);
  void remove(const LeaseId& id);
  // The watch begins anew with a list: what that shows holds, also where an answer to a request of ours was newer. The
  // server's data may be an older copy.
  void list_begins();
  // nullptr when there is none; holds until the next call that is not const.
  const ShardLease* find(const LeaseId& id) const;
  void for_each(const std::function<void(const ShardLease&)>& visit) const;

  // Which rings exist: Leases of others are left alone.
  void ring_added(const std::string& ring);
  void ring_removed(const std::string& ring);
  void set_leading(bool leading);
  bool leading() const { return leading_; }

  void watch_opened() { healthy_.watch_opened(); }
  void watch_lost() { healthy_.watch_lost(); }
  // The Lease whose quorum read is the next probe: the held one that has gone longest without a renewal. Without a held
  // Lease there is nothing to probe for.
  std::optional<LeaseId> probe_target() const;
  void probe_succeeded(Now now);
  void probe_failed() { healthy_.probe_failed(); }

  // Reports an action. kSetLabel, kRead and kTakeOver bring the Lease, kDelete nothing.
  void finished(const Action& action, Result<ActionAnswer> answer, Now now);

  // What is to be done now.
  std::vector<Action> due(Now now);
  // What has become trouble, or is none any more, since the last call.
  std::vector<LeaseTrouble> take_troubles() { return std::exchange(told_troubles_, {}); }
  // When due() has something to look at again; nullopt for never.
  std::optional<SteadyTime> next_due() const;

 private:
  // The state label that we set last.
  struct Label {
    std::optional<LeaseState> state;
    int times = 0;  // in a row
    SteadyTime at = {};
    SteadyTime not_before = SteadyTime::min();  // may it be set again
  };
  struct Entry {
    ShardLease lease;
    Label label = {};
    SteadyTime ahead_until = SteadyTime::min();  // `lease` is an answer to a request of ours: older versions are late
    HealthyTime::Mark renewed{};                 // when its tenure was last seen to change
    SteadyTime due = SteadyTime::max();
    bool in_flight = false;
    bool until_changed = false;  // not_before ends early when a new version comes
    bool outdated = false;       // a write met a newer version: read it
    SteadyTime not_before = SteadyTime::min();
    std::optional<Backoff> backoff;
    bool backoff_lasting = false;
    kube::LastingFailure failure = {};
    bool name_rejected = false;  // kRejectName was given out
    std::optional<Action> next;  // kTakeOver, when kRead found nothing new
  };

  void consider(Entry& entry, Now now, std::vector<Action>& actions);
  void start(Entry& entry, ActionKind kind, LeaseState state, std::vector<Action>& actions);
  void verified(Entry& entry, const Action& action, const ActionAnswer& answer, Now now);
  void failed(Entry& entry, const Action& action, const Error& error, Now now);
  static void wait_for_watch(Entry& entry, Now now);
  void label_set(Label& label, LeaseState state, Now now);
  void note_trouble(const Entry& entry, ActionKind kind, const Error& error);
  void end_trouble(const ShardLease& lease);
  void works(Entry& entry, Now now);
  void renewal_seen(Now now);
  // Those that wait because they fail and fail do not wait any longer.
  void hasten();
  void schedule(Entry& entry, SteadyTime at);
  bool unrenewed(const Entry& entry) const;
  static bool is_decided_on(const Action& action, const ShardLease& lease);

  std::minstd_rand seeds_;
  std::minstd_rand label_random_;
  bool leading_ = false;
  HealthyTime healthy_;
  std::set<std::string, std::less<>> rings_;
  std::map<LeaseId, Entry> leases_;
  std::set<std::pair<SteadyTime, LeaseId>> agenda_;  // each Entry with a `due` that is not max()
  std::set<LeaseId> suspects_;                       // uncertain, but not yet unobserved for long enough
  // By ring: the Leases that fail and fail, and what was told.
  struct Trouble {
    std::set<LeaseId> leases;
    Error told;
  };
  std::map<std::string, Trouble> troubles_;
  std::vector<LeaseTrouble> told_troubles_;
  std::optional<SteadyTime> last_renewal_;  // of any Lease
};

}  // namespace sharder::membership
