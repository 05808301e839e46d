#pragma once

#include <chrono>
#include <optional>

#include "base/clock.h"

namespace sharder::membership {

// Counts, by the monotonic clock, the time in which shards were able to renew their Leases and we were able to see it.
// A Lease is taken over only after leaseDuration of this time without a renewal (protocol, 9): the wall clock of no
// machine can kill a living shard.
//
// What proves that a renewal could have happened and would have been seen? Not an open watch: while the API server is
// paused or cut off from etcd its connections stay open and nothing comes, least of all from a shard that cannot renew
// either. So a probe, a quorum read of a Lease, is sent every kProbePeriod with a deadline of kProbeTimeout, in every
// replica, and only the time between two successive successes counts, and only if they lie at most kMaxGap apart, with
// the Lease watch open all the while:
//
//   probes    ok      ok      ok      (no answer, API server paused for 40 s)         ok      ok
//   counted    |--2 s--|--2 s--|                                                       |--2 s--|
//
// A server that was away thus contributes nothing, nor does a machine that slept or a process that was stopped; when
// the server is back, shards have as much of leaseDuration left to renew as they had before. A failed probe, or a watch
// that ends, cuts the chain: the time since the last success is lost too. All errors are on the side of waiting.
//
// Together with the quorum read just before the take-over (LeaseKeeper), which shows that the version that we saw so
// long ago is still the newest one, this does not even rely on the watch being timely: a watch that lags makes us read
// a newer version there, and the wait begins anew.
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

  // Where the count stands, the time since the last success included as if it were going to count: so that what was
  // before this moment never counts for what is measured from it.
  Mark mark(SteadyTime now) const;
  // Healthy time since the mark was taken; never more than what has really passed.
  std::chrono::nanoseconds since(Mark mark) const;

 private:
  std::chrono::nanoseconds total_{};
  std::optional<SteadyTime> last_success_;
  bool watching_ = false;
};

}  // namespace sharder::membership
