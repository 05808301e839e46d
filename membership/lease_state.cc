#include "membership/lease_state.h"

#include <utility>

namespace sharder::membership {

namespace {

// Protocol, 3: for a Lease without its times, and for how long a dead one is kept.
constexpr std::chrono::seconds kDefaultDuration{15};
constexpr std::chrono::minutes kOrphanedAfter{1};

bool complete(const ShardLease& lease) {
  return lease.acquire_time && lease.renew_time && lease.lease_duration;
}

}  // namespace

std::string_view to_string(LeaseState state) {
  switch (state) {
    case LeaseState::kReady:
      return "ready";
    case LeaseState::kExpired:
      return "expired";
    case LeaseState::kUncertain:
      return "uncertain";
    case LeaseState::kDead:
      return "dead";
    case LeaseState::kOrphaned:
      return "orphaned";
  }
  std::unreachable();
}

bool in_grace(const ShardLease& lease, std::chrono::nanoseconds grace_period) {
  return lease.released() && !lease.cordoned && grace_period.count() > 0;
}

std::chrono::seconds effective_duration(const ShardLease& lease) {
  return complete(lease) ? *lease.lease_duration : kDefaultDuration;
}

LeaseVerdict judge(const ShardLease& lease, WallTime now, std::chrono::nanoseconds grace_period) {
  if (in_grace(lease, grace_period)) {
    return {LeaseState::kDead, std::nullopt};
  }
  // No overflow: a parsed year has four digits, a duration 31 bits, and WallTime reaches over 292,000 years.
  const std::chrono::seconds duration = effective_duration(lease);
  const WallTime expiration = complete(lease) ? *lease.renew_time + duration : now;
  if (!lease.held()) {
    const WallTime orphaned = expiration + kOrphanedAfter;
    return now < orphaned ? LeaseVerdict{LeaseState::kDead, orphaned - now}
                          : LeaseVerdict{LeaseState::kOrphaned, std::nullopt};
  }
  if (now < expiration) {
    return {LeaseState::kReady, expiration - now};
  }
  const WallTime uncertain = expiration + duration;
  return now < uncertain ? LeaseVerdict{LeaseState::kExpired, uncertain - now}
                         : LeaseVerdict{LeaseState::kUncertain, duration};
}

}  // namespace sharder::membership
