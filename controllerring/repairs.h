#pragma once

#include <chrono>
#include <optional>

#include "base/backoff.h"
#include "base/clock.h"

namespace sharder::controllerring {

// When the webhook configuration of one ring is put right that somebody else changed: after a second, and when that
// does not last, because a controller insists, after pauses that grow up to the sync period. What has lasted for a sync
// period ends them. Pure, the caller brings the time; owned by one thread.
class Repairs {
 public:
  explicit Repairs(std::chrono::nanoseconds sync_period);

  // How the configuration stands in the cluster: as it should, or not.
  void seen(bool right, SteadyTime now);
  // When it is to be put right; nullopt: it is right, for all that is known.
  std::optional<SteadyTime> due() const { return due_; }
  // Whether fields may be taken back that somebody else has set, when it is applied for another reason.
  bool may_take_back(SteadyTime now) const { return now >= not_before_; }
  // It is being applied, whatever the reason was, and what is not right is put right.
  void applying(SteadyTime now);
  // Fields were taken back: not every change is seen, where it may not be watched.
  void taken_back(SteadyTime now);
  // Nobody has undone it for a sync period.
  bool lasted(SteadyTime now) const;

 private:
  void pause(SteadyTime now);

  const std::chrono::nanoseconds sync_period_;
  Backoff pauses_;
  std::optional<SteadyTime> due_;
  std::optional<SteadyTime> repaired_;  // the last time
  SteadyTime not_before_ = SteadyTime::min();
};

}  // namespace sharder::controllerring
