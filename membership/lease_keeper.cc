#include "membership/lease_keeper.h"

#include <algorithm>
#include <utility>

#include "kube/codec/resource_version.h"
#include "membership/lease_requests.h"
#include "ring/names.h"

namespace sharder::membership {

namespace {

// Each Lease is looked at this often at least, because somebody may set the wall clock.
constexpr std::chrono::minutes kLongestLook{1};
// For how long an answer to a request of ours may be ahead of the watch. Not for ever: an etcd that was restored from a
// backup goes on from a lower resourceVersion.
constexpr std::chrono::seconds kAheadOfWatch{30};
// In an outage: the same pauses as everywhere else (design, 6.9).
constexpr BackoffPolicy kTransient{};
// Not permitted, rejected, or a lasting failure of the server: that does not change soon.
constexpr BackoffPolicy kLastingPauses{.initial = std::chrono::seconds(1), .max = std::chrono::minutes(1)};

// Something removes or overwrites the label: perhaps a shard that writes its Lease as it was before.
constexpr BackoffPolicy kRelabel{.initial = std::chrono::seconds(1), .max = std::chrono::minutes(5)};
constexpr std::chrono::minutes kLasted{10};  // a label that stayed so long was not removed
// A Lease outlives its shard's place in the ring by so long: a shard that comes back while its objects move has to see
// that it was away (decision 9). A grace that ends with its mark ends when the Lease has expired long ago.
constexpr std::chrono::minutes kKeptAfterLeaving{1};
// When no Lease is renewed for so long, nobody could write.
constexpr std::chrono::seconds kNoRenewals{10};

// Whether an answer has a newer version than the known one. A watch may show none: then any version is newer.
bool is_news(const std::string& answered, const std::string& known) {
  return known.empty() ? !answered.empty() : kube::newer_version(answered, known);
}

}  // namespace

LeaseKeeper::LeaseKeeper(std::uint64_t seed)
    : seeds_(static_cast<std::minstd_rand::result_type>(seed)), label_random_(seeds_) {}

bool LeaseKeeper::upsert(ShardLease lease, Source source, Now now) {
  auto found = leases_.find(lease.id);
  if (source == Source::kAnswer) {
    // Only the watch adds and removes Leases.
    if (found == leases_.end() || found->second.lease.uid != lease.uid || lease.ring.empty() ||
        !is_news(lease.resource_version, found->second.lease.resource_version)) {
      return false;
    }
  } else if (found != leases_.end() && now.steady < found->second.ahead_until && found->second.lease.uid == lease.uid &&
             kube::newer_version(found->second.lease.resource_version, lease.resource_version)) {
    return false;
  }
  const bool is_new = found == leases_.end();
  if (is_new) {
    const kube::Retries::Policies pauses{.transient = kTransient, .lasting = kLastingPauses};
    found = leases_.emplace(lease.id, Entry{.retries = kube::Retries(pauses, seeds_())}).first;
  }
  Entry& entry = found->second;
  if (is_new || !entry.lease.same_tenure(lease)) {
    entry.renewed = healthy_.mark(now.steady);
    renewal_seen(now);
  }
  if (entry.lease.ring != lease.ring) {
    forget_failures(entry);
  }
  entry.invalid_name_recorded = entry.invalid_name_recorded && entry.lease.uid == lease.uid;
  const bool is_newer = is_new || entry.lease.resource_version != lease.resource_version;
  entry.lease = std::move(lease);
  entry.ahead_until = source == Source::kAnswer ? now.steady + kAheadOfWatch : SteadyTime::min();
  if (is_newer) {
    if (std::exchange(entry.until_changed, false)) {
      entry.not_before = SteadyTime::min();
    }
    entry.outdated = false;
    entry.next.reset();
    schedule(entry, SteadyTime::min());
  }
  return true;
}

void LeaseKeeper::remove(const LeaseId& id) {
  if (const auto found = leases_.find(id); found != leases_.end()) {
    schedule(found->second, SteadyTime::max());
    end_trouble(found->second.lease);
    suspects_.erase(id);
    leases_.erase(found);
  }
}

void LeaseKeeper::list_begins() {
  for (auto& [id, entry] : leases_) {
    entry.ahead_until = SteadyTime::min();
  }
}

const ShardLease* LeaseKeeper::find(const LeaseId& id) const {
  const auto found = leases_.find(id);
  return found == leases_.end() ? nullptr : &found->second.lease;
}

void LeaseKeeper::for_each(const std::function<void(const ShardLease&)>& visit) const {
  for (const auto& [id, entry] : leases_) {
    visit(entry.lease);
  }
}

void LeaseKeeper::ring_shown(const std::string& ring, std::chrono::nanoseconds grace_period) {
  const auto [known, is_new] = rings_.try_emplace(ring, grace_period);
  if (std::exchange(known->second, grace_period) == grace_period && !is_new) {
    return;
  }
  for (auto& [id, entry] : leases_) {
    if (entry.lease.ring == ring) {
      schedule(entry, SteadyTime::min());
    }
  }
}

void LeaseKeeper::ring_removed(const std::string& ring) {
  rings_.erase(ring);
  for (auto& [id, entry] : leases_) {
    if (entry.lease.ring == ring) {
      forget_failures(entry);
    }
  }
}

void LeaseKeeper::set_leading(bool leading) {
  leading_ = leading;
  for (auto& [id, entry] : leases_) {
    forget_failures(entry);
    entry.next.reset();
    schedule(entry, leading ? SteadyTime::min() : SteadyTime::max());
  }
  suspects_.clear();
}

std::optional<LeaseId> LeaseKeeper::probe_target() const {
  const Entry* oldest = nullptr;
  for (const auto& [id, entry] : leases_) {
    const bool waited_for = entry.lease.held() || in_grace(entry.lease, grace_period_of(entry.lease));
    if (waited_for && (oldest == nullptr || entry.renewed < oldest->renewed)) {
      oldest = &entry;
    }
  }
  return oldest == nullptr ? std::nullopt : std::optional(oldest->lease.id);
}

void LeaseKeeper::probe_succeeded(Now now) {
  healthy_.probe_succeeded(now.steady);
  for (const LeaseId& id : std::exchange(suspects_, {})) {
    schedule(leases_.at(id), now.steady);
  }
}

void LeaseKeeper::finished(const Action& action, Result<ActionAnswer> answer, Now now) {
  const auto found = leases_.find(action.lease);
  if (found == leases_.end()) {
    return;
  }
  Entry& entry = found->second;
  entry.in_flight = false;
  schedule(entry, SteadyTime::min());
  if (!answer) {
    failed(entry, action, answer.error(), now);
    return;
  }
  if (answer->lease) {
    upsert(*answer->lease, Source::kAnswer, now);
  }
  if (action.kind == ActionKind::kRead) {
    verified(entry, action, *answer, now);
    return;  // the pauses of a failed take-over stay: this read is part of the next try
  }
  works(entry, now);
  if (std::exchange(entry.unwritable, false)) {
    entry.renewed = healthy_.mark(now.steady);
  }
  if (action.kind == ActionKind::kSetLabel) {
    label_set(entry.label, action.state, now);
  }
  if (is_decided_on(action, entry.lease)) {
    // It has taken effect, but what came of it is not known here yet: the watch will show it.
    wait_for_watch(entry, now);
  }
}

void LeaseKeeper::verified(Entry& entry, const Action& action, const ActionAnswer& answer, Now now) {
  entry.outdated = false;
  if (!leading_ || !is_decided_on(action, entry.lease) ||
      !may_take_over(entry, judge(entry.lease, now.wall, grace_period_of(entry.lease)).state)) {
    return;  // decide anew
  }
  auto body = take_over_body(answer.document, effective_duration(entry.lease), now.wall);
  if (!body || !answer.lease || answer.lease->uid != action.uid || !is_decided_on(action, *answer.lease)) {
    // The Lease there is not the one that the watch has shown so far.
    wait_for_watch(entry, now);
    return;
  }
  entry.next = action;
  entry.next->kind = ActionKind::kTakeOver;
  entry.next->body = std::move(*body);
}

void LeaseKeeper::wait_for_watch(Entry& entry, Now now) {
  entry.until_changed = true;
  entry.not_before = now.steady + kTransient.max;
}

void LeaseKeeper::label_set(Label& label, LeaseState state, Now now) {
  if (label.state != state || now.steady - label.at >= kLasted) {
    label = {.state = state};
  }
  label.at = now.steady;
  label.not_before = now.steady + backoff_pause(kRelabel, label.times++, label_random_);
}

void LeaseKeeper::failed(Entry& entry, const Action& action, const Error& error, Now now) {
  if (error.code == ErrorCode::kNotFound) {
    wait_for_watch(entry, now);  // somebody has deleted it
  } else {
    const kube::Retries::Failure failure = entry.retries.failed(error, now.steady);
    entry.not_before = now.steady + failure.pause;
    // The reason why one cannot be written usually holds for all of the ring.
    if (failure.is_news && troubles_[entry.lease.ring].begins(entry.lease.id, error)) {
      new_troubles_.push_back(
          {.ring = entry.lease.ring, .error = fail("cannot " + std::string(describe(action.kind)), error).error()});
    }
  }
  entry.until_changed = error.code == ErrorCode::kConflict || error.code == ErrorCode::kNotFound;
  if (entry.until_changed && !is_decided_on(action, entry.lease)) {
    entry.not_before = SteadyTime::min();  // the version that it conflicted with is known already
  } else {
    entry.outdated = error.code == ErrorCode::kConflict;
  }
  if (kube::may_be_done(error)) {
    entry.unwritable = true;
    entry.renewed = healthy_.mark(now.steady);
  }
}

void LeaseKeeper::end_trouble(const ShardLease& lease) {
  const auto trouble = troubles_.find(lease.ring);
  if (trouble != troubles_.end() && trouble->second.ends(lease.id)) {
    troubles_.erase(trouble);
    new_troubles_.push_back({.ring = lease.ring, .error = std::nullopt});
  }
}

void LeaseKeeper::forget_failures(Entry& entry) {
  end_trouble(entry.lease);
  entry.retries.reset();
  entry.not_before = SteadyTime::min();
}

void LeaseKeeper::works(Entry& entry, Now now) {
  if (entry.retries.succeeded(now.steady)) {
    end_trouble(entry.lease);
    hasten();
  }
}

void LeaseKeeper::renewal_seen(Now now) {
  const auto last = std::exchange(last_renewal_, now.steady);
  if (last && now.steady - *last >= kNoRenewals) {
    hasten();
  }
}

void LeaseKeeper::hasten() {
  for (const auto& [ring, trouble] : troubles_) {
    for (const LeaseId& id : trouble.things()) {
      Entry& entry = leases_.at(id);
      entry.not_before = SteadyTime::min();
      schedule(entry, SteadyTime::min());
    }
  }
}

std::vector<Action> LeaseKeeper::due(Now now) {
  std::vector<Action> actions;
  while (!agenda_.empty() && agenda_.begin()->first <= now.steady) {
    Entry& entry = leases_.at(agenda_.begin()->second);
    schedule(entry, SteadyTime::max());
    consider(entry, now, actions);
  }
  return actions;
}

std::optional<SteadyTime> LeaseKeeper::next_due() const {
  return agenda_.empty() ? std::nullopt : std::optional(agenda_.begin()->first);
}

void LeaseKeeper::consider(Entry& entry, Now now, std::vector<Action>& actions) {
  if (!leading_ || entry.in_flight) {
    return;  // whatever ends this schedules the Lease again
  }
  if (!rings_.contains(entry.lease.ring)) {
    entry.next.reset();
    return;  // likewise
  }
  if (!ring::is_label_value(entry.lease.id.name) && !std::exchange(entry.invalid_name_recorded, true)) {
    actions.push_back({.kind = ActionKind::kRecordInvalidName,
                       .lease = entry.lease.id,
                       .uid = entry.lease.uid,
                       .precondition = kube::Precondition::of(entry.lease.resource_version),
                       .ring = entry.lease.ring});
  }
  const std::chrono::nanoseconds grace_period = grace_period_of(entry.lease);
  const bool is_available = entry.lease.held() || in_grace(entry.lease, grace_period);
  if (std::exchange(entry.was_available, is_available) && !is_available) {
    entry.kept_until = now.steady + kKeptAfterLeaving;
  }
  if (now.steady < entry.not_before) {
    schedule(entry, entry.not_before);
    return;
  }
  if (entry.next) {
    entry.in_flight = true;
    actions.push_back(*std::exchange(entry.next, std::nullopt));
    return;
  }
  const LeaseVerdict verdict = judge(entry.lease, now.wall, grace_period);
  const bool labelled = entry.lease.state_label == to_string(verdict.state);
  const SteadyTime relabel_at = entry.label.state == verdict.state ? entry.label.not_before : now.steady;
  if (entry.outdated) {
    start(entry, ActionKind::kRead, verdict.state, actions);
  } else if (!labelled && relabel_at <= now.steady) {
    start(entry, ActionKind::kSetLabel, verdict.state, actions);
  } else if (may_take_over(entry, verdict.state)) {
    start(entry, ActionKind::kRead, verdict.state, actions);
  } else if (verdict.state == LeaseState::kOrphaned && entry.kept_until <= now.steady) {
    start(entry, ActionKind::kDelete, verdict.state, actions);
  } else {
    if (verdict.state == LeaseState::kUncertain || in_grace(entry.lease, grace_period)) {
      suspects_.insert(entry.lease.id);
    } else if (labelled) {
      works(entry, now);  // there is nothing left to do
    }
    // The minimum is taken in microseconds: the time in a Lease of the year 9999 does not fit into nanoseconds.
    const std::chrono::microseconds longest = kLongestLook;
    const SteadyTime look_again = verdict.state == LeaseState::kOrphaned
                                      ? entry.kept_until
                                      : now.steady + std::min(verdict.look_again_after.value_or(longest), longest);
    schedule(entry, labelled ? look_again : std::min(look_again, relabel_at));
  }
}

void LeaseKeeper::start(Entry& entry, ActionKind kind, LeaseState state, std::vector<Action>& actions) {
  entry.in_flight = true;
  auto precondition = kube::Precondition::of(entry.lease.resource_version);
  actions.push_back({.kind = precondition ? kind : ActionKind::kRead,
                     .lease = entry.lease.id,
                     .uid = entry.lease.uid,
                     .precondition = std::move(precondition),
                     .ring = entry.lease.ring,
                     .state = state});
}

void LeaseKeeper::schedule(Entry& entry, SteadyTime at) {
  if (!leading_) {
    at = SteadyTime::max();  // a standby has nothing to do, however often Leases change
  }
  if (entry.due == at) {
    return;
  }
  if (entry.due != SteadyTime::max()) {
    agenda_.erase({entry.due, entry.lease.id});
  }
  entry.due = at;
  if (at != SteadyTime::max()) {
    agenda_.emplace(at, entry.lease.id);
  }
}

bool LeaseKeeper::is_decided_on(const Action& action, const ShardLease& lease) {
  return action.precondition == kube::Precondition::of(lease.resource_version);
}

std::chrono::nanoseconds LeaseKeeper::grace_period_of(const ShardLease& lease) const {
  const auto ring = rings_.find(lease.ring);
  return ring == rings_.end() || lease.cordoned ? std::chrono::nanoseconds(0) : ring->second;
}

// Whether the shard has been gone for long enough, by our own observation: `state` is its Lease's by the wall clock.
bool LeaseKeeper::may_take_over(const Entry& entry, LeaseState state) const {
  const std::chrono::nanoseconds grace_period = grace_period_of(entry.lease);
  const std::chrono::nanoseconds gone = healthy_.since(entry.renewed);
  if (in_grace(entry.lease, grace_period)) {
    return gone >= grace_period;
  }
  return state == LeaseState::kUncertain && gone >= effective_duration(entry.lease) + grace_period;
}

}  // namespace sharder::membership
