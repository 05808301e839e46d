#pragma once

#include <chrono>
#include <optional>
#include <string_view>

#include "base/clock.h"
#include "membership/shard_lease.h"

namespace sharder::membership {

// The state of a Lease at a time of the wall clock (protocol, 3). In the first three states its shard is available, in
// the others not, unless it is in grace; see ShardLease::held() and in_grace().
enum class LeaseState {
  kReady,      // held, not expired
  kExpired,    // held, expired less than leaseDuration ago
  kUncertain,  // held, expired at least leaseDuration ago
  kDead,       // not held by the shard: released, or taken over
  kOrphaned,   // not held, and expired at least a minute ago
};

// Whether the shard has released its Lease and keeps its place all the same: in a ring with a grace period, until the
// leader takes the Lease over (decision 11). By data alone, as ShardLease::held().
bool in_grace(const ShardLease& lease, std::chrono::nanoseconds grace_period);

// As in the state label: "ready".
std::string_view to_string(LeaseState state);

struct LeaseVerdict {
  LeaseState state;
  // After this time the state may change by itself or, if it is uncertain, a failed take-over is tried again. Never
  // negative; nullopt: never.
  std::optional<std::chrono::microseconds> look_again_after;
  bool operator==(const LeaseVerdict&) const = default;
};

// The duration that counts for a Lease: 15 s when at least one of acquireTime, renewTime and
// leaseDurationSeconds is missing, even if the duration is there.
std::chrono::seconds effective_duration(const ShardLease& lease);

// The table of protocol.md section 3: a pure function. A Lease on which one of the three is missing expires at
// `now`, whenever it is judged: it is `expired` for ever while it is held, and `dead` for ever when it is not. So it is
// neither taken over nor deleted. One in grace is `dead` until it is taken over.
LeaseVerdict judge(const ShardLease& lease, WallTime now, std::chrono::nanoseconds grace_period = {});

}  // namespace sharder::membership
