#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/executor.h"
#include "base/lifetime.h"
#include "base/log.h"
#include "base/poster.h"
#include "base/timer.h"
#include "kube/client/api.h"
#include "kube/client/failure_kinds.h"
#include "kube/election/election_state.h"
#include "kube/election/leader_election.h"

namespace sharder::kube {

// Sends the requests of an ElectionState and watches its deadlines, on an executor. LeaderElection gives it a thread;
// tests give it an executor that they drive. Everything but valid...() and post_...() happens on the executor.
class ElectionDriver final {
 public:
  // The executor is shared, because an answer of the Api may come when everything else is destroyed. Destroy this on
  // the executor, or when the executor has stopped.
  ElectionDriver(Api& api, const Clock& clock, LeaderElectionOptions options, LeaderElection::Callbacks callbacks,
                 const Logger& log, std::shared_ptr<Executor> executor, std::uint64_t seed = std::random_device{}());

  // From the callbacks only that we hold the Lease, or have renewed it.
  bool was_taken() const { return state_.was_taken(); }
  std::string seen_label() const { return state_.seen_label(); }

  // From any thread.
  bool valid() const { return clock_.boot() < valid_until(); }
  BootTime valid_until() const { return valid_until_.load(std::memory_order_acquire); }
  void post_start();
  // Stops holding the Lease, and renews no more; `done` runs on the executor after on_lost.
  void post_stop(std::move_only_function<void()> done);
  // After post_stop(): releases the Lease if it may be ours. `done` runs on the executor, within renew_deadline.
  void post_release(std::move_only_function<void()> done);

 private:
  enum class Mode {
    kElecting,
    kStopping,       // it is not valid for us any more; the record may still be ours
    kAwaitingWrite,  // to be released, after the answer of a write that may make it ours
    kReleasing,
    kReleased,
  };

  void begin_attempt();
  void send(Request request);
  void answered(const Result<Response>& result);
  void attempt_answered(const Result<Response>& result);
  void update_validity();
  void begin_release();
  void release_answered(const Result<Response>& result);
  void finish_release();
  std::optional<Error> failure_of(const Result<Response>& result) const;
  void log_failure(const std::optional<Error>& error);
  void log_holder();
  void record_event(std::string_view message);
  void arm(Timer& timer, std::chrono::nanoseconds delay, void (ElectionDriver::*then)());

  Api& api_;
  const Clock& clock_;
  const LeaderElectionOptions options_;
  const LeaderElection::Callbacks callbacks_;
  const Logger log_;
  const std::shared_ptr<Executor> executor_;

  std::atomic<BootTime> valid_until_ = BootTime::min();

  // The executor's:
  ElectionState state_;
  Mode mode_ = Mode::kElecting;
  bool held_ = false;  // what the callbacks were last notified of
  bool in_flight_ = false;
  std::uint64_t request_ = 0;  // the one that is in flight; answers of older ones are ignored
  std::move_only_function<void()> released_;
  Timer attempt_timer_{*executor_};
  Timer deadline_timer_{*executor_};
  Timer release_timer_{*executor_};
  FailureKinds logged_;  // since an attempt has succeeded
  LeaseHolder logged_holder_ = LeaseHolder::kNobody;
  std::string logged_identity_;
  Lifetime lifetime_;
  const Poster<ElectionDriver> post_{*this, lifetime_, *executor_};
};

}  // namespace sharder::kube
