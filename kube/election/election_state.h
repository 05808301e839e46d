#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <string>

#include "base/clock.h"
#include "base/error.h"
#include "kube/client/api.h"
#include "kube/client/object_reference.h"
#include "kube/election/election_options.h"

// The rules by which a process holds a Lease, as the leader of an election or as a shard: pure, without I/O, clock or
// thread. ElectionDriver sends the requests that it returns, and gives it the answers.
//
// An attempt is one to three requests, begun every retry_period:
//
//   holding ────────► PUT ── 409, 404 ──► GET ──► another's record, and not expired ──► over (a shard: 404 too)
//   else ─► GET ─┐     │ 2xx: holds on     │
//                └─────┼───────────────────┼──► 404 ──────────────────► POST ─┐
//                      ▼                   └──► free, ours, or expired ► PUT ─┴─► 2xx: holds
//
// Why two processes never hold it at once, whatever the clocks show and the network does:
// 1. A holder stops renew_deadline after it *sent* the last renewal that succeeded (BOOTTIME).
// 2. A candidate takes another's Lease only when it has read its record, and lease_duration later (MONOTONIC) the same
//    record. The holder sent this renewal before the first read. So by 1. and renew_deadline < lease_duration it has
//    stopped.
// 3. A renewal that arrives between the second read and the take-over changes the resourceVersion, and the take-over
//    fails. A renewal that arrives later fails itself.
// So the time of an outage counts: it only matters that the same record is read again at its end.
// (client-go does the same. A holder that could not renew has stopped by its own clock. As there, nobody deletes a
// Lease that is held: the next candidate would make it anew at once. A leader makes it anew too, and goes on. A shard
// whose Lease is gone has lost it: the sharder gives its objects to others.)
//
// An identity that is not unique (a shard's name is its identity) may be that of a second process. Each renewal has a
// renewTime of its own, in microseconds. So a record under our identity is ours if its renewTime is one that we wrote.
// Any other is another's, and 1. to 3. hold for it, with one exception:
// 4. The record that a process sees first, under its own identity, is nearly always that of a process which has ended:
//    the one before it in the same container. It is taken when it is unchanged two retry periods later, because a
//    holder that lives renews it meanwhile. Two hold it at once only if the other lives, and has not been able to renew
//    for so long (decision 9 says why that is accepted).
namespace sharder::kube {

// One reading of all clocks.
struct ElectionTime {
  WallTime wall;
  SteadyTime steady;
  BootTime boot;
};
ElectionTime read_time(const Clock& clock);

// Whose record the Lease has.
enum class LeaseHolder {
  kNobody,   // it was released, is not there, or was not seen yet
  kSelf,     // this process
  kOther,    // another identity
  kEarlier,  // our identity, not our record, and the first that we have seen: its process may have ended
  kTwin,     // our identity, not our record, and written while we ran: its process lived
};

class ElectionState {
 public:
  explicit ElectionState(LeaderElectionOptions options, std::uint64_t seed = std::random_device{}());

  // The first request of an attempt.
  Request begin(const ElectionTime& now);
  // Takes the answer to that request. Returns the attempt's next request, or nullopt when the attempt is over.
  std::optional<Request> answer(const Result<Response>& result, const ElectionTime& now);
  // The attempt is over for us, whatever still comes.
  void abandon();
  // How long to wait for the next attempt, after one that is over.
  std::chrono::nanoseconds next_attempt(const ElectionTime& now);

  // Until when we hold the Lease. In the past, or BootTime::min(), when we don't.
  BootTime valid_until() const { return valid_until_; }
  // Whether there was no Lease, or a released one, or another identity's, when it was acquired last.
  bool was_taken() const { return was_taken_; }
  // Of options.seen_label, as the Lease was last seen; "": it has none, or the Lease is not known.
  std::string seen_label() const;
  // We hold it no more, whatever the record says.
  void step_down(const ElectionTime& now);

  // Whether the Lease may be ours on the server: held, or a write is under way or had no answer.
  bool may_hold() const { return may_hold_; }
  // A write is under way.
  bool is_writing() const { return step_ == Step::kWriting; }
  // Releasing is an attempt too: begin_release(), then release_answer() until it returns nullopt.
  // is_released() then: the lease is not ours any more.
  Request begin_release(const ElectionTime& now);
  std::optional<Request> release_answer(const Result<Response>& result, const ElectionTime& now);
  bool is_released() const { return !may_hold_; }

  // As the Lease was last seen.
  LeaseHolder holder() const { return holder_; }
  const std::string& holder_identity() const { return holder_identity_; }  // "": nobody's
  ObjectReference reference() const;
  // Why the body of the last good answer is no Lease; nullopt: it is one.
  const std::optional<Error>& unreadable() const { return unreadable_; }

 private:
  enum class Step { kIdle, kReading, kWriting };

  Request read(const ElectionTime& now);
  Request write(nlohmann::json spec, const ElectionTime& now);
  Request acquire(const ElectionTime& now);
  std::chrono::milliseconds call_timeout(const ElectionTime& now) const;
  std::optional<Request> on_read(const Result<Response>& result, const ElectionTime& now);
  std::optional<Request> on_written(const Result<Response>& result, const ElectionTime& now);
  Result<void> observe(std::string_view body, const ElectionTime& now);
  Result<void> remember(std::string_view body, const ElectionTime& now);
  LeaseHolder observed_holder() const;
  std::chrono::nanoseconds protection() const;

  const LeaderElectionOptions options_;
  std::minstd_rand random_;
  Step step_ = Step::kIdle;
  bool optimistic_ = false;  // the write that is under way was not preceded by a read
  bool may_hold_ = false;
  bool was_taken_ = false;
  SteadyTime taken_at_ = SteadyTime::min();
  SteadyTime attempt_began_{};
  BootTime write_began_ = BootTime::min();
  BootTime valid_until_ = BootTime::min();
  std::deque<WallTime> renew_times_;  // of our last writes, whatever became of them

  // The Lease as it was last seen (null: absent or not known), and since when it is unchanged.
  nlohmann::json lease_;
  nlohmann::json observed_spec_;
  std::string observed_uid_;
  std::optional<Error> unreadable_;
  SteadyTime observed_at_ = SteadyTime::min();
  bool is_first_record_ = false;
  std::string holder_identity_;
  LeaseHolder holder_ = LeaseHolder::kNobody;
};

}  // namespace sharder::kube
