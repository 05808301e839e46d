#include "rebalancer/repeat_guard.h"

#include <doctest/doctest.h>

using namespace sharder;
using namespace sharder::rebalancer;
using namespace std::chrono_literals;

namespace {

constexpr SteadyTime kStart{1h};

}  // namespace

TEST_CASE("an object that needs the same move again and again gets it with growing pauses") {
  RepeatGuard guard;
  SteadyTime now = kStart;
  CHECK(guard.not_before(5, 1, now) == now);
  guard.moved(5, 1, now);
  CHECK(guard.not_before(5, 1, now) == now);
  guard.moved(5, 1, now);
  CHECK(guard.not_before(5, 1, now) == now + 1s);
  guard.moved(5, 1, now);
  CHECK(guard.not_before(5, 1, now) == now + 2s);
  CHECK(guard.repeats(5, 1, now) == 3);
  CHECK(guard.repeats(5, 2, now) == 0);  // another ring: it may well have to move again
  CHECK(guard.repeats(6, 1, now) == 0);
  for (int move = 0; move < 40; ++move) {
    guard.moved(5, 1, now);
  }
  CHECK(guard.not_before(5, 1, now) == now + RepeatGuard::kLongestPause);
  now += RepeatGuard::kForget;
  CHECK(guard.repeats(5, 1, now) == 0);
}
