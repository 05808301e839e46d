#pragma once

#include <chrono>
#include <optional>
#include <utility>

#include "base/backoff.h"
#include "base/clock.h"
#include "base/error.h"
#include "kube/client/failure_class.h"

namespace sharder::kube {

// The pauses between tries of what fails for long, where others do not wait for it.
inline constexpr BackoffPolicy kLastingPauses{.initial = std::chrono::seconds(1), .max = std::chrono::minutes(2)};

// When something that fails and is tried again is to be told: when it fails and fails. One for each thing that is
// tried, by verb and resource. What does not pass by itself (403, 404, 405) is believed sooner, but not at once:
// kube-apiserver refuses everything for about a second after it started, until it has read its roles. Conflicts and the
// like are no failures, and an outage begins the count anew. What fails for another reason is told again, when that one
// lasts too. What comes back soon has to last longer, each time twice as long, so that nothing that flaps is told all
// the time.
//
// Pure, the caller brings the time; owned by one thread.
class LastingFailure {
 public:
  static constexpr std::chrono::seconds kOfRefusal{5};
  static constexpr std::chrono::seconds kOfFailure{10};  // the server's, 5xx
  static constexpr std::chrono::minutes kOfDelay{1};     // no answer in time, or too many requests
  static constexpr std::chrono::minutes kSoon{5};

  // It failed. True: tell it now.
  bool failed(const Error& error, SteadyTime now);
  // It worked. True: tell that it works again.
  bool succeeded(SteadyTime now);

  // It failed the last time.
  bool pending() const { return since_.has_value(); }
  // It was told, and has not worked since.
  bool lasts() const { return told_.has_value(); }

 private:
  using Reason = std::pair<ErrorCode, int>;  // with the HTTP status; messages may differ each time

  static constexpr int kMaxReturns = 3;

  std::optional<SteadyTime> since_;  // the first failure since it worked
  Reason reason_ = {};               // of the last failure,
  SteadyTime reason_since_ = {};     // and of those before it
  std::optional<Reason> told_;
  std::optional<SteadyTime> over_;  // when it last worked again
  int returns_ = 0;                 // so often it was told and over, each time soon after the last
};

}  // namespace sharder::kube
