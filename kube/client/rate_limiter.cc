#include "kube/client/rate_limiter.h"

#include <algorithm>
#include <cmath>

namespace sharder::kube {

RateLimiter::RateLimiter(double qps, int burst) {
  if (!(qps > 0) || !std::isfinite(qps)) {
    return;
  }
  // One a day at least, so that nothing overflows.
  const double seconds = std::min(1.0 / qps, 86'400.0);
  interval_ = std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double>(seconds));
  tolerance_ = interval_ * (std::clamp(burst, 1, 100'000) - 1);
}

// The generic cell rate algorithm: the bucket's level is the distance between now and `turn_`.
std::optional<std::chrono::nanoseconds> RateLimiter::reserve(SteadyTime now, std::chrono::nanoseconds patience) {
  if (interval_ == std::chrono::nanoseconds::zero()) {
    return std::chrono::nanoseconds(0);
  }
  const SteadyTime turn = std::max(turn_, now);
  const auto wait = std::max(std::chrono::nanoseconds(turn - now) - tolerance_, std::chrono::nanoseconds(0));
  if (wait > patience) {
    return std::nullopt;
  }
  turn_ = turn + interval_;
  return wait;
}

}  // namespace sharder::kube
