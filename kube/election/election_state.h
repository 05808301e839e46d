#pragma once

#include <chrono>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <string>

#include "base/clock.h"
#include "base/error.h"
#include "kube/client/api.h"
#include "kube/client/object_reference.h"
#include "kube/election/election_options.h"

// The rules of the leader election: pure, without I/O, clock or thread. ElectionDriver sends the requests that it
// returns, and gives it the answers.
//
// An attempt is one to three requests, begun every retry_period:
//
//   leading ────────► PUT ── 409, 404 ──► GET ──► held by another, and not expired ──► over
//   else ─► GET ─┐     │ 2xx: leads on     │
//                └─────┼───────────────────┼──► 404 ──────────────────► POST ─┐
//                      ▼                   └──► free, ours, or expired ► PUT ─┴─► 2xx: leads
//
// Why two replicas never lead at once, whatever the clocks show and the network does:
// 1. A leader stops renew_deadline after it *sent* the last renewal that succeeded (BOOTTIME).
// 2. A candidate takes a foreign lease only when it has read its record, and lease_duration later (MONOTONIC) the same
//    record. The holder sent this renewal before the first read. So by 1. and renew_deadline < lease_duration it has
//    stopped.
// 3. A renewal that arrives between the second read and the take-over changes the resourceVersion, and the take-over
//    fails. A renewal that arrives later fails itself.
// So the time of an outage counts: it only matters that the same record is read again at its end.
// (client-go does the same. A leader that could not renew has stopped by its own clock.)
namespace sharder::kube {

// One reading of all clocks.
struct ElectionTime {
  WallTime wall;
  SteadyTime steady;
  BootTime boot;
};
ElectionTime read_time(const Clock& clock);

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

  // Until when we lead. In the past, or BootTime::min(), when we don't.
  BootTime leading_until() const { return leading_until_; }
  // We stop leading, and renew no more.
  void step_down();

  // Whether the lease may be ours on the server: held, or a write is under way or had no answer.
  bool may_hold() const { return may_hold_; }
  // A write is under way.
  bool is_writing() const { return step_ == Step::kWriting; }
  // Releasing is an attempt too: begin_release(), then release_answer() until it returns nullopt.
  // is_released() then: the lease is not ours any more.
  Request begin_release(const ElectionTime& now);
  std::optional<Request> release_answer(const Result<Response>& result, const ElectionTime& now);
  bool is_released() const { return !may_hold_; }

  // "" while none was seen.
  const std::string& holder() const { return holder_; }
  ObjectReference reference() const;

 private:
  enum class Step { kIdle, kReading, kWriting };

  Request read(const ElectionTime& now);
  Request write(nlohmann::json spec, const ElectionTime& now);
  Request acquire(const ElectionTime& now);
  std::chrono::milliseconds call_timeout(const ElectionTime& now) const;
  std::optional<Request> on_read(const Result<Response>& result, const ElectionTime& now);
  std::optional<Request> on_written(const Result<Response>& result, const ElectionTime& now);
  Result<void> observe(std::string_view body, const ElectionTime& now);
  std::chrono::nanoseconds observed_duration() const;

  const LeaderElectionOptions options_;
  std::minstd_rand random_;
  Step step_ = Step::kIdle;
  bool optimistic_ = false;  // the write that is under way was not preceded by a read
  bool may_hold_ = false;
  SteadyTime attempt_began_{};
  BootTime write_began_ = BootTime::min();
  BootTime leading_until_ = BootTime::min();

  // The Lease as it was last seen (null: absent or not known), and since when it is unchanged.
  nlohmann::json lease_;
  nlohmann::json observed_spec_;
  std::string observed_uid_;
  SteadyTime observed_at_ = SteadyTime::min();
  std::string holder_;
};

}  // namespace sharder::kube
