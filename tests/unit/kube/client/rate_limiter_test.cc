#include "kube/client/rate_limiter.h"

#include <doctest/doctest.h>

#include <limits>

namespace sharder::kube {
namespace {

using namespace std::chrono_literals;

constexpr SteadyTime kStart{1h};

TEST_CASE("without a rate nothing waits") {
  for (const double qps :
       {0.0, -1.0, std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    CAPTURE(qps);
    RateLimiter limiter(qps, 0);
    for (int i = 0; i < 1000; ++i) {
      REQUIRE(limiter.reserve(kStart, 0ns) == 0ns);
    }
  }
}

TEST_CASE("a burst goes at once, what follows comes at the rate") {
  RateLimiter limiter(10, 3);
  CHECK(limiter.reserve(kStart, 1s) == 0ns);
  CHECK(limiter.reserve(kStart, 1s) == 0ns);
  CHECK(limiter.reserve(kStart, 1s) == 0ns);
  CHECK(limiter.reserve(kStart, 1s) == 100ms);
  CHECK(limiter.reserve(kStart, 1s) == 200ms);
  CHECK(limiter.reserve(kStart + 100ms, 1s) == 200ms);
}

TEST_CASE("what was not used is saved up to the burst and no further") {
  RateLimiter limiter(10, 2);
  CHECK(limiter.reserve(kStart, 1s) == 0ns);
  const SteadyTime later = kStart + 1h;
  CHECK(limiter.reserve(later, 1s) == 0ns);
  CHECK(limiter.reserve(later, 1s) == 0ns);
  CHECK(limiter.reserve(later, 1s) == 100ms);
}

TEST_CASE("a burst below one counts as one") {
  RateLimiter limiter(1, -5);
  CHECK(limiter.reserve(kStart, 10s) == 0ns);
  CHECK(limiter.reserve(kStart, 10s) == 1s);
}

TEST_CASE("who would wait too long takes no turn away from others") {
  RateLimiter limiter(1, 1);
  CHECK(limiter.reserve(kStart, 0s) == 0ns);
  for (int i = 0; i < 10; ++i) {
    CHECK(limiter.reserve(kStart, 999ms) == std::nullopt);
  }
  CHECK(limiter.reserve(kStart, 1s) == 1s);
}

TEST_CASE("a rate near zero does not overflow") {
  RateLimiter limiter(1e-300, std::numeric_limits<int>::max());
  CHECK(limiter.reserve(kStart, 1s) == 0ns);
}

}  // namespace
}  // namespace sharder::kube
