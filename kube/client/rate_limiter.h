#pragma once

#include <chrono>
#include <optional>

#include "base/clock.h"

namespace sharder::kube {

// A token bucket: `burst` requests at once, then `qps` each second. Requests are let go in the order in which they
// reserved. Pure: the caller brings the time. Owned by one thread.
class RateLimiter {
 public:
  // qps <= 0: no limit. A burst < 1 counts as 1.
  RateLimiter(double qps, int burst);

  // How long the next request has to wait, or nullopt when that is longer than `patience`; then nothing is reserved.
  std::optional<std::chrono::nanoseconds> reserve(SteadyTime now, std::chrono::nanoseconds patience);

 private:
  std::chrono::nanoseconds interval_{0};   // between two requests; 0: no limit
  std::chrono::nanoseconds tolerance_{0};  // how far ahead of its turn a request may go
  SteadyTime turn_ = SteadyTime::min();    // when the next request would go if requests came evenly
};

}  // namespace sharder::kube
