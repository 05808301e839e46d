#include "rebalancer/move_limit.h"

#include <doctest/doctest.h>

using namespace sharder;
using namespace sharder::rebalancer;
using namespace std::chrono_literals;

namespace {

constexpr SteadyTime kStart{1h};

}  // namespace

TEST_CASE("concurrent moves: halved while the API server is overloaded, at most once a second, then one more each") {
  MoveLimit limit(100);
  CHECK(limit.current() == 100);
  limit.answered(10ms, true, kStart);
  CHECK(limit.current() == 50);
  limit.overloaded(kStart + 900ms);
  CHECK(limit.current() == 50);
  limit.answered(1500ms, false, kStart + 1s);
  CHECK(limit.current() == 25);
  limit.answered(10ms, false, kStart + 1500ms);
  CHECK(limit.current() == 25);
  limit.answered(10ms, false, kStart + 2s);
  CHECK(limit.current() == 26);
  for (int second = 3; second < 20; ++second) {
    limit.overloaded(kStart + std::chrono::seconds(second));
  }
  CHECK(limit.current() == MoveLimit::kLeast);
  for (int success = 0; success < 200; ++success) {
    limit.answered(10ms, false, kStart + 1min);
  }
  CHECK(limit.current() == 100);
  MoveLimit one(1);
  one.overloaded(kStart);
  CHECK(one.current() == 1);
}
