#pragma once

#include <chrono>
#include <cstddef>

#include "base/clock.h"

namespace sharder::rebalancer {

// How many moves of a ring may be under way: concurrentMoves, and fewer while the API server is overloaded. Halved, at
// most once a second, when it answers 429 or 5xx (but the 500 of somebody's webhook that fails), does not
// answer, or takes longer than kSlow. One more with each
// success when there was no overload for a second. Pure.
class MoveLimit {
 public:
  static constexpr std::chrono::milliseconds kSlow{1000};
  static constexpr std::chrono::seconds kQuiet{1};
  static constexpr std::size_t kLeast = 4;  // never lower, unless concurrentMoves is

  explicit MoveLimit(std::size_t most) : most_(most), current_(most) {}

  std::size_t current() const { return current_; }
  // A move succeeded after `duration`. `was_overloaded`: only after a 429, or a 503 with Retry-After.
  void answered(std::chrono::nanoseconds duration, bool was_overloaded, SteadyTime now);
  // A move was not answered, or all its tries were answered with 429 or 5xx.
  void overloaded(SteadyTime now);

 private:
  const std::size_t most_;
  std::size_t current_;
  SteadyTime last_cut_ = SteadyTime::min();
};

}  // namespace sharder::rebalancer
