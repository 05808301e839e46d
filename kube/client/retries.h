#pragma once

#include <chrono>
#include <cstdint>
#include <random>

#include "base/backoff.h"
#include "base/clock.h"
#include "base/error.h"
#include "kube/client/lasting_failure.h"

namespace sharder::kube {

// The pauses between tries of one thing that is tried until it works: short ones in an outage, after a conflict and
// while a failure may pass by itself, and longer ones that grow when it does not (is_permanent(), or it lasts).
//
// Pure, the caller brings the time; owned by one thread.
class Retries {
 public:
  struct Policies {
    BackoffPolicy transient = {};
    BackoffPolicy lasting = kLastingPauses;
  };
  struct Failure {
    bool is_news;                     // it has just become a lasting failure: log, record and report it
    bool lasts;                       // the next try fails as well, unless somebody changes something
    std::chrono::milliseconds pause;  // before the next try
  };

  Retries() : Retries(Policies{}) {}
  explicit Retries(const Policies& policies, std::uint64_t seed = std::random_device{}());

  Failure failed(const Error& error, SteadyTime now);
  // It worked: the next pause is short again. True: a lasting failure is over; log, record and report that.
  bool succeeded(SteadyTime now);

  // The next pause is short again: what is tried has changed.
  void hasten();
  // As if it had never been tried.
  void reset();

  // It failed the last time.
  bool pending() const { return pending_; }
  // It is a lasting failure, and has not worked since.
  bool lasts() const { return failure_.lasts(); }

 private:
  LastingFailure failure_;
  Backoff transient_;
  Backoff lasting_;
  bool pending_ = false;
};

}  // namespace sharder::kube
