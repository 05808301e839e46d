#include "membership/lease_state.h"

#include <doctest/doctest.h>

#include <string>

using namespace sharder;
using namespace sharder::membership;
using std::chrono::microseconds;
using std::chrono::minutes;
using std::chrono::seconds;

namespace {

constexpr WallTime kRenewed = std::chrono::sys_days(std::chrono::year(2026) / 11 / 23);

ShardLease lease(const std::string& holder, seconds duration = seconds(15)) {
  ShardLease lease;
  lease.id = {"default", "shard-0"};
  lease.holder_identity = holder;
  lease.lease_duration = duration;
  lease.acquire_time = lease.renew_time = kRenewed;
  return lease;
}

}  // namespace

TEST_CASE("each row of the table gives its state and when to look again (protocol, 3)") {
  struct Row {
    const char* what;
    const char* holder;
    microseconds age;  // since renewTime; leaseDuration is 15 s
    LeaseState state;
    std::optional<microseconds> look_again_after;
  };
  const Row rows[] = {
      {"just renewed", "shard-0", seconds(0), LeaseState::kReady, seconds(15)},
      {"renewed by a clock ahead of ours", "shard-0", seconds(-100), LeaseState::kReady, seconds(115)},
      {"about to expire", "shard-0", seconds(15) - microseconds(1), LeaseState::kReady, microseconds(1)},
      {"expired just now", "shard-0", seconds(15), LeaseState::kExpired, seconds(15)},
      {"expired for a while", "shard-0", seconds(25), LeaseState::kExpired, seconds(5)},
      {"about to be uncertain", "shard-0", seconds(30) - microseconds(1), LeaseState::kExpired, microseconds(1)},
      {"expired leaseDuration ago", "shard-0", seconds(30), LeaseState::kUncertain, seconds(15)},
      {"long uncertain", "shard-0", minutes(60 * 24), LeaseState::kUncertain, seconds(15)},
      {"released just now", "", seconds(0), LeaseState::kDead, seconds(75)},
      {"released and expired", "", seconds(20), LeaseState::kDead, seconds(55)},
      {"about to be orphaned", "", seconds(75) - microseconds(1), LeaseState::kDead, microseconds(1)},
      {"released, expired a minute ago", "", seconds(75), LeaseState::kOrphaned, std::nullopt},
      {"taken over", "shardlease-controller", seconds(0), LeaseState::kDead, seconds(75)},
      {"taken over, expired a minute ago", "shardlease-controller", seconds(75), LeaseState::kOrphaned, std::nullopt},
      {"held by somebody else", "shard-1", seconds(1), LeaseState::kDead, seconds(74)},
  };
  for (const Row& row : rows) {
    CAPTURE(row.what);
    CHECK(judge(lease(row.holder), kRenewed + row.age) == LeaseVerdict{row.state, row.look_again_after});
  }
}

TEST_CASE("a released lease is in grace by its data alone: not when cordoned, nor with another holder (decision 11)") {
  ShardLease released = lease("");
  CHECK(in_grace(released, minutes(1)));
  CHECK_FALSE(in_grace(released, seconds(0)));
  for (const auto age : {seconds(0), seconds(75), seconds(1'000'000)}) {
    CHECK(judge(released, kRenewed + age, minutes(1)) == LeaseVerdict{LeaseState::kDead, std::nullopt});
  }
  for (const char* other : {"shard-0", "shardlease-controller", "shard-1"}) {
    CHECK_FALSE(in_grace(lease(other), minutes(1)));
    CHECK(judge(lease(other), kRenewed, minutes(1)) == judge(lease(other), kRenewed));
  }
  released.cordoned = true;
  CHECK_FALSE(in_grace(released, minutes(1)));
  CHECK(judge(released, kRenewed + seconds(75), minutes(1)).state == LeaseState::kOrphaned);
}

TEST_CASE("whether a shard is available is in the lease's data alone, not in any clock (protocol, 3)") {
  for (const auto age : {seconds(0), seconds(20), seconds(1'000'000)}) {
    CHECK(lease("shard-0").held());
    const LeaseState held = judge(lease("shard-0"), kRenewed + age).state;
    CHECK((held == LeaseState::kReady || held == LeaseState::kExpired || held == LeaseState::kUncertain));
    for (const char* other : {"", "shardlease-controller", "shard-1", "SHARD-0"}) {
      CHECK_FALSE(lease(other).held());
      const LeaseState state = judge(lease(other), kRenewed + age).state;
      CHECK((state == LeaseState::kDead || state == LeaseState::kOrphaned));
    }
  }
}

TEST_CASE("a lease without acquireTime, renewTime or leaseDurationSeconds expires just now, with 15 s (protocol, 3)") {
  for (int missing = 0; missing < 3; ++missing) {
    CAPTURE(missing);
    for (const char* holder : {"shard-0", ""}) {
      ShardLease incomplete = lease(holder, seconds(100));
      if (missing == 0) {
        incomplete.acquire_time.reset();
      } else if (missing == 1) {
        incomplete.renew_time.reset();
      } else {
        incomplete.lease_duration.reset();
      }
      CHECK(effective_duration(incomplete) == seconds(15));
      const LeaseVerdict expected = incomplete.held() ? LeaseVerdict{LeaseState::kExpired, seconds(15)}
                                                      : LeaseVerdict{LeaseState::kDead, minutes(1)};
      CHECK(judge(incomplete, kRenewed) == expected);
      CHECK(judge(incomplete, kRenewed + minutes(1'000'000)) == expected);
    }
  }
}

TEST_CASE("enormous durations and far times do not overflow") {
  ShardLease far = lease("shard-0", seconds(2147483647));
  far.renew_time = std::chrono::sys_days(std::chrono::year(9999) / 12 / 31);
  CHECK(judge(far, kRenewed).state == LeaseState::kReady);
  CHECK(judge(far, *far.renew_time + 2 * seconds(2147483647)).state == LeaseState::kUncertain);
  far.renew_time = std::chrono::sys_days(std::chrono::year(0) / 1 / 1);
  CHECK(judge(far, kRenewed).state == LeaseState::kUncertain);
  far.holder_identity = "";
  CHECK(judge(far, kRenewed).state == LeaseState::kOrphaned);
}

TEST_CASE("states are written as the label has them (protocol, 3)") {
  CHECK(to_string(LeaseState::kReady) == "ready");
  CHECK(to_string(LeaseState::kExpired) == "expired");
  CHECK(to_string(LeaseState::kUncertain) == "uncertain");
  CHECK(to_string(LeaseState::kDead) == "dead");
  CHECK(to_string(LeaseState::kOrphaned) == "orphaned");
}
