// Leases and ControllerRings of any bytes: what is read can be judged at any time, taken over, and read again.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "membership/lease_state.h"
#include "membership/ring_object.h"
#include "membership/shard_lease.h"
#include "tests/fuzz/require.h"

namespace {

using namespace sharder;

void check_verdict(const membership::ShardLease& lease, WallTime now) {
  const membership::LeaseVerdict verdict = membership::judge(lease, now);
  const bool dead =
      verdict.state == membership::LeaseState::kDead || verdict.state == membership::LeaseState::kOrphaned;
  require(dead != lease.held());
  require(!verdict.look_again_after || verdict.look_again_after->count() > 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const WallTime now = std::chrono::sys_days(std::chrono::year(2026) / 1 / 1);
  if (const auto ring = membership::decode_ring(text)) {
    require(!ring->spec.name.empty());
  }
  const auto lease = membership::decode_shard_lease(text);
  if (!lease) {
    require(lease.error().code == ErrorCode::kInvalid);
    return 0;
  }
  require(!lease->id.name.empty());
  require(!lease->lease_duration || lease->lease_duration->count() > 0);
  check_verdict(*lease, now);
  check_verdict(*lease, WallTime());
  check_verdict(*lease, std::chrono::sys_days(std::chrono::year(9999) / 12 / 31));

  const auto body = membership::take_over_body(text, membership::effective_duration(*lease), now);
  require(body.has_value() == !lease->resource_version.empty());
  if (!body) {
    return 0;
  }
  const auto taken = membership::decode_shard_lease(body->text());
  require(taken.has_value() && taken->id == lease->id && taken->resource_version == lease->resource_version);
  require(taken->holder_identity == membership::kTakeOverIdentity && taken->renew_time == now);
  require(taken->held() == (lease->id.name == membership::kTakeOverIdentity));
  return 0;
}
