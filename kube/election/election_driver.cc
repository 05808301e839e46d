#include "kube/election/election_driver.h"

#include <algorithm>
#include <utility>

namespace sharder::kube {

using namespace std::chrono_literals;

namespace {

// Timers run on CLOCK_MONOTONIC, which stops in a suspend. So we look at least so often whether our time is over.
constexpr std::chrono::nanoseconds kDeadlineStep = 1s;
// In an outage a process that ends does not wait longer: the Lease then expires by itself.
constexpr std::chrono::nanoseconds kReleaseTimeout = 5s;
constexpr std::chrono::nanoseconds kReleaseRetry = 200ms;

// Answers of normal operation, which are not logged.
bool is_everyday(ErrorCode code) {
  return code == ErrorCode::kConflict || code == ErrorCode::kExists || code == ErrorCode::kNotFound;
}

}  // namespace

ElectionDriver::ElectionDriver(Api& api, const Clock& clock, LeaderElectionOptions options,
                               LeaderElection::Callbacks callbacks, const Logger& log,
                               std::shared_ptr<Executor> executor, std::uint64_t seed)
    : api_(api),
      clock_(clock),
      options_(std::move(options)),
      callbacks_(std::move(callbacks)),
      log_(log.with({{"object", options_.lease_namespace + "/" + options_.lease_name}})),
      executor_(std::move(executor)),
      state_(options_, seed) {}

void ElectionDriver::post_start() {
  post_([](ElectionDriver& self) { self.begin_attempt(); });
}

void ElectionDriver::post_stop(std::move_only_function<void()> done) {
  post_([done = std::move(done)](ElectionDriver& self) mutable {
    if (self.mode_ == Mode::kElecting) {
      self.mode_ = Mode::kStopping;
      self.attempt_timer_.cancel();
      self.state_.step_down(read_time(self.clock_));
      self.update_validity();
    }
    done();
  });
}

void ElectionDriver::post_release(std::move_only_function<void()> done) {
  post_([done = std::move(done)](ElectionDriver& self) mutable {
    if (self.mode_ != Mode::kStopping) {
      done();
      return;
    }
    self.released_ = std::move(done);
    self.arm(self.release_timer_, std::min<std::chrono::nanoseconds>(kReleaseTimeout, self.options_.renew_deadline),
             &ElectionDriver::finish_release);
    if (self.in_flight_ && self.state_.is_writing()) {
      self.mode_ = Mode::kAwaitingWrite;
    } else {
      self.begin_release();
    }
  });
}

void ElectionDriver::begin_attempt() {
  if (mode_ == Mode::kElecting) {
    send(state_.begin(read_time(clock_)));
  }
}

void ElectionDriver::send(Request request) {
  in_flight_ = true;
  api_.send(std::move(request),
            [executor = executor_, to_executor = post_, sent = ++request_](Result<Response> result) {
              to_executor([sent, result = std::move(result)](ElectionDriver& self) {
                if (self.in_flight_ && self.request_ == sent) {
                  self.in_flight_ = false;
                  self.answered(result);
                }
              });
            });
}

void ElectionDriver::answered(const Result<Response>& result) {
  switch (mode_) {
    case Mode::kElecting:
      attempt_answered(result);
      break;
    case Mode::kStopping:
    case Mode::kAwaitingWrite:
      // The state learns about the Lease from it. The next request is not sent, and nothing is valid again.
      static_cast<void>(state_.answer(result, read_time(clock_)));
      state_.abandon();
      state_.step_down(read_time(clock_));
      if (mode_ == Mode::kAwaitingWrite) {
        begin_release();
      }
      break;
    case Mode::kReleasing:
      release_answered(result);
      break;
    case Mode::kReleased:
      break;
  }
}

void ElectionDriver::attempt_answered(const Result<Response>& result) {
  std::optional<Request> next = state_.answer(result, read_time(clock_));
  update_validity();
  const std::optional<Error> failure = failure_of(result);
  log_failure(failure);
  log_holder();
  if (next) {
    send(*std::move(next));
  } else {
    if (!failure && logged_.clear()) {  // only when the attempt is over: reads may work where writes fail
      log_.info("requests about the lease work again");
    }
    arm(attempt_timer_, state_.next_attempt(read_time(clock_)), &ElectionDriver::begin_attempt);
  }
}

// Notifies the callbacks of changes in the state.
void ElectionDriver::update_validity() {
  deadline_timer_.cancel();
  const BootTime until = state_.valid_until();
  const bool renewed = valid_until_.exchange(until, std::memory_order_acq_rel) != until;
  const std::chrono::nanoseconds left = until - std::min(clock_.boot(), until);
  if (left > 0ns) {
    arm(deadline_timer_, std::min(left, kDeadlineStep), &ElectionDriver::update_validity);
    if (!std::exchange(held_, true)) {
      log_.info("acquired the lease", {{"holder", options_.identity}});
      record_event("became leader");
      callbacks_.on_elected();
    }
    if (renewed && callbacks_.on_renewed) {
      callbacks_.on_renewed(until);
    }
    return;
  }
  if (std::exchange(held_, false)) {
    callbacks_.on_lost();
    if (callbacks_.on_renewed) {
      callbacks_.on_renewed(until);
    }
    log_.info(mode_ == Mode::kElecting ? "lost the lease" : "stopped renewing the lease",
              {{"holder", options_.identity}});
    record_event("stopped leading");
    if (mode_ == Mode::kElecting && std::exchange(in_flight_, false)) {
      // A request that hangs must not keep us from being a candidate again.
      state_.abandon();
      arm(attempt_timer_, state_.next_attempt(read_time(clock_)), &ElectionDriver::begin_attempt);
    }
  }
}

void ElectionDriver::begin_release() {
  mode_ = Mode::kReleasing;
  if (state_.may_hold()) {
    send(state_.begin_release(read_time(clock_)));
  } else {
    finish_release();
  }
}

void ElectionDriver::release_answered(const Result<Response>& result) {
  if (!result) {
    log_failure(failure_of(result));
  }
  if (state_.is_writing() && result) {
    log_.info("released the lease", {{"holder", options_.identity}});
  }
  if (std::optional<Request> next = state_.release_answer(result, read_time(clock_))) {
    send(*std::move(next));
  } else if (state_.is_released()) {
    finish_release();
  } else {
    arm(attempt_timer_, kReleaseRetry, &ElectionDriver::begin_release);
  }
}

void ElectionDriver::finish_release() {
  mode_ = Mode::kReleased;
  attempt_timer_.cancel();
  release_timer_.cancel();
  if (state_.may_hold()) {
    log_.warn("the lease could not be released, it will expire", {{"holder", options_.identity}});
  }
  if (auto done = std::exchange(released_, nullptr)) {
    done();
  }
}

// Of an answer that the state has taken.
std::optional<Error> ElectionDriver::failure_of(const Result<Response>& result) const {
  if (result) {
    return state_.unreadable();
  }
  return is_everyday(result.error().code) ? std::nullopt : std::optional(result.error());
}

void ElectionDriver::log_failure(const std::optional<Error>& error) {
  if (error && logged_.insert(*error)) {
    log_.warn("a request about the lease failed, it is retried", {{"error", error->message}});
  }
}

void ElectionDriver::log_holder() {
  const LeaseHolder holder = state_.holder();
  const std::string& identity = state_.holder_identity();
  if (holder == LeaseHolder::kNobody || (holder == logged_holder_ && identity == logged_identity_)) {
    return;
  }
  logged_holder_ = holder;
  logged_identity_ = identity;
  switch (holder) {
    case LeaseHolder::kNobody:
    case LeaseHolder::kSelf:
      break;
    case LeaseHolder::kOther:
      log_.info("another holds the lease", {{"holder", identity}});
      break;
    case LeaseHolder::kEarlier:
      log_.info("the lease is held under our name, it is acquired if nobody renews it", {{"holder", identity}});
      break;
    case LeaseHolder::kTwin:
      log_.error("another process holds the lease under our name, give each shard a name of its own",
                 {{"holder", identity}});
      break;
  }
}

void ElectionDriver::record_event(std::string_view message) {
  if (callbacks_.on_event) {
    callbacks_.on_event(state_.reference(), options_.identity + " " + std::string(message));
  }
}

void ElectionDriver::arm(Timer& timer, std::chrono::nanoseconds delay, void (ElectionDriver::*then)()) {
  timer.set(delay, [this, then] { (this->*then)(); });
}

}  // namespace sharder::kube
