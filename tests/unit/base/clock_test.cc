#include "base/clock.h"

#include <doctest/doctest.h>

using sharder::SystemClock;

TEST_CASE("the monotonic clocks never go back, and the wall clock is this century's") {
  const SystemClock clock;
  const auto steady = clock.steady();
  const auto boot = clock.boot();
  for (int i = 0; i < 1000; ++i) {
    CHECK(clock.steady() >= steady);
    CHECK(clock.boot() >= boot);
  }
  CHECK(clock.wall() > std::chrono::sys_days(std::chrono::year(2020) / 1 / 1));
}
