#pragma once

#include <chrono>
#include <optional>

#include "base/clock.h"

namespace sharder::membership {

// Counts, by the monotonic clock, the time in which shards were able to renew their Leases and we were able to see it.
// A Lease is taken over only after leaseDuration of this time without a renewal (protocol, 9): no wall clock, of
// whatever machine, can take the Lease from a shard that renews it.
//
// An open watch does not prove that a renewal could have happened and would have been seen: while the API server is
// paused, or cut off from etcd, its connections stay open, nothing comes, and no shard can renew. So every replica
// sends a probe, a quorum read of a Lease, every kProbePeriod, with a timeout of kProbeTimeout. The time between two
// successive successes counts if they lie at most kMaxGap apart and the Lease watch was open all the while:
//
//   probes    ok      ok      ok      (no answer, API server paused for 40 s)         ok      ok
//   counted    |--2 s--|--2 s--|                                                       |--2 s--|
//
// So the time of an outage does not count, nor the time in which the machine slept or the process was stopped. After an
// outage, shards have as much of leaseDuration left to renew as they had before. A failed probe, or a watch that ends,
// cuts the chain: the time since the last success is lost too. Every error makes us wait longer, none makes us act
// sooner.
//
// This does not rely on a timely watch: just before the take-over, LeaseKeeper reads the Lease with a quorum read. If
// the watch lagged, that read returns a newer version, and the wait begins anew.
class HealthyTime {
 public:
  static constexpr std::chrono::seconds kProbePeriod{2};  // from an answer to the next probe
  static constexpr std::chrono::seconds kProbeTimeout{3};
  static constexpr std::chrono::seconds kMaxGap = kProbePeriod + kProbeTimeout;

  // A reading to measure from, see mark().
  using Mark = std::chrono::nanoseconds;

  void watch_opened() { watching_ = true; }
  void watch_lost();
  // A probe was answered just now.
  void probe_succeeded(SteadyTime now);
  void probe_failed() { last_success_.reset(); }

  // The count at `now`. The time since the last success is part of it, although it counts only once the next success
  // comes. Example: a success at 10 s, a mark at 11 s, the next success at 12 s. Those 2 s count, and 1 s of them is
  // from before the mark; the mark has it already, so since() gives 1 s.
  Mark mark(SteadyTime now) const;
  // Healthy time since the mark was taken; never more than what has really passed.
  std::chrono::nanoseconds since(Mark mark) const;

 private:
  std::chrono::nanoseconds total_{};
  std::optional<SteadyTime> last_success_;
  bool watching_ = false;
};

}  // namespace sharder::membership
