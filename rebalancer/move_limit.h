#pragma once

#include <chrono>
#include <cstddef>

#include "base/clock.h"

namespace sharder::rebalancer {

// How many moves of a ring may be under way: concurrentMoves, and fewer while the API server is overloaded. Halved, at
// most once a second, when it answers 429 or 5xx, does not answer, or takes longer than kSlow; one more with each
// success once it has been quiet for a second. Pure.
class MoveLimit {
 public:
  static constexpr std::chrono::milliseconds kSlow{1000};
  static constexpr std::chrono::seconds kQuiet{1};
  static constexpr std::size_t kLeast = 4;

  explicit MoveLimit(std::size_t most) : most_(most), current_(most) {}

  std::size_t current() const { return current_; }
  // A move was answered, with whatever: it took `duration`, and had to wait for a Retry-After (`throttled`).
  void answered(std::chrono::nanoseconds duration, bool throttled, SteadyTime now);
  // A move was not answered, or with 429 or 5xx to the end.
  void refused(SteadyTime now);

 private:
  const std::size_t most_;
  std::size_t current_;
  SteadyTime last_cut_ = SteadyTime::min();
};

}  // namespace sharder::rebalancer
