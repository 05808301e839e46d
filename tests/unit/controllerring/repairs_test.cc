#include "controllerring/repairs.h"

#include <doctest/doctest.h>

using namespace sharder;
using namespace sharder::controllerring;
using namespace std::chrono_literals;

TEST_CASE("repairs come after a second, and with pauses that grow to the sync period while somebody insists") {
  constexpr auto kPeriod = 5min;
  Repairs repairs(kPeriod);
  SteadyTime now{1h};
  CHECK_FALSE(repairs.due());
  CHECK(repairs.lasted(now));
  std::chrono::nanoseconds longest{0};
  for (int i = 0; i < 20; ++i) {
    repairs.seen(false, now);
    repairs.seen(false, now + 1ms);  // shown again: the same change
    REQUIRE(repairs.due());
    const auto pause = *repairs.due() - now;
    CHECK(pause >= (i == 0 ? 1s : std::min<std::chrono::nanoseconds>(1s * (1 << (i - 1)), kPeriod / 2)));
    CHECK(pause <= (i == 0 ? 1s : std::min<std::chrono::nanoseconds>(2s * (1 << (i - 1)), kPeriod)));
    longest = std::max(longest, std::chrono::nanoseconds(pause));
    now += pause;
    repairs.applying(now);
    CHECK_FALSE(repairs.due());
    CHECK_FALSE(repairs.lasted(now + kPeriod - 1ms));
    CHECK(repairs.lasted(now + kPeriod));
  }
  CHECK(longest > kPeriod / 2);
  now += kPeriod;
  repairs.seen(false, now);
  CHECK(*repairs.due() == now + 1s);
  repairs.seen(true, now);
  CHECK_FALSE(repairs.due());
  repairs.applying(now);  // for another reason: no repair
  CHECK(repairs.lasted(now));
}

TEST_CASE("what is taken back without having been seen makes pauses too, also for what was undone meanwhile") {
  Repairs repairs(5min);
  SteadyTime now{1h};
  CHECK(repairs.may_take_back(now));
  repairs.applying(now);
  repairs.seen(false, now);  // undone before the answer came
  repairs.taken_back(now);
  CHECK_FALSE(repairs.may_take_back(now + 999ms));
  REQUIRE(repairs.due());
  CHECK(repairs.may_take_back(*repairs.due()));
  CHECK_FALSE(repairs.may_take_back(*repairs.due() - 1ms));
  for (int i = 0; i < 20; ++i) {
    repairs.applying(now += 10min);
    repairs.taken_back(now);
    CHECK(repairs.may_take_back(now + 5min));
  }
}
