#pragma once

#include <chrono>
#include <optional>

#include "base/backoff.h"
#include "base/clock.h"

namespace sharder::controllerring {

// Decides when the webhook configuration of one ring is repaired, after somebody else changed it: after a second at
// first. When a controller changes it again and again, the pauses between repairs grow up to the sync period. They
// begin anew when a repair has lasted for a sync period. Pure, the caller brings the time; owned by one thread.
class Repairs {
 public:
  explicit Repairs(std::chrono::nanoseconds sync_period);

  // The configuration was seen in the cluster. `right`: it is as it should be.
  void seen(bool right, SteadyTime now);
  // When to repair it; nullopt: it is right, as far as is known.
  std::optional<SteadyTime> due() const { return due_; }
  // Whether an apply for another reason may take back fields that another manager has set.
  bool may_take_back(SteadyTime now) const { return now >= not_before_; }
  // It is being applied, for whatever reason, and that repairs it.
  void applying(SteadyTime now);
  // Fields were taken back. Where the watch is not permitted, only this shows that somebody changed them.
  void taken_back(SteadyTime now);
  // Nobody has undone the last repair for a sync period.
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
