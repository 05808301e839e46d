#pragma once

#include <chrono>
#include <optional>

#include "base/backoff.h"
#include "base/clock.h"
#include "base/error.h"
#include "kube/client/failure_class.h"

namespace sharder::kube {

// The pauses between tries of work that fails for long, where no other work waits for it.
inline constexpr BackoffPolicy kLastingPauses{.initial = std::chrono::seconds(1), .max = std::chrono::minutes(2)};

// Decides when a failure is a lasting one, which the caller then logs, records and reports. There is one of these for
// each thing that is tried, by verb and resource. Failures that do not pass by themselves (403, 404, 405) count sooner,
// but not at once: kube-apiserver permits nothing for about a second after it started, until it has read its roles.
// Conflicts and the like are no failures, and an outage begins the count anew. A failure for another reason is a
// new lasting failure when it lasts too.
//
// How long it must last depends on its kind: kOfPermanent, kOfFailure or kOfDelay. When a lasting failure comes back
// within kSoon of its end, that time doubles, and doubles again each time, so that flapping does not fill the log.
//
// Pure, the caller brings the time; owned by one thread.
class LastingFailure {
 public:
  static constexpr std::chrono::seconds kOfPermanent{5};  // is_permanent()
  static constexpr std::chrono::seconds kOfFailure{10};   // the server's, 5xx
  static constexpr std::chrono::minutes kOfDelay{1};      // no answer in time, or 429
  static constexpr std::chrono::minutes kSoon{5};

  // Whether it is a failure of what was tried: no outage, nobody else was just
  // faster, and we did not stop waiting.
  static bool counts(const Error& error);

  // It failed. True: this has just become a lasting failure; log, record and report it.
  bool failed(const Error& error, SteadyTime now);
  // It worked. True: a lasting failure is over; log, record and report that.
  bool succeeded(SteadyTime now);

  // It failed the last time.
  bool pending() const { return since_.has_value(); }
  // It is a lasting failure, and has not worked since.
  bool lasts() const { return lasting_.has_value(); }

 private:
  static constexpr int kMaxReturns = 3;

  std::optional<SteadyTime> since_;     // the first failure since it worked
  FailureKind reason_ = {};             // of the last failure
  SteadyTime reason_since_ = {};        // the first of the failures in a row that had it
  std::optional<FailureKind> lasting_;  // of the lasting failure
  std::optional<SteadyTime> over_;      // when it last worked again
  int returns_ = 0;                     // how many lasting failures in a row are over, each soon after the last
};

}  // namespace sharder::kube
