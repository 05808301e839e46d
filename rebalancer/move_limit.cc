#include "rebalancer/move_limit.h"

#include <algorithm>

namespace sharder::rebalancer {

void MoveLimit::answered(std::chrono::nanoseconds duration, bool was_overloaded, SteadyTime now) {
  if (was_overloaded || duration > kSlow) {
    overloaded(now);
  } else if (current_ < most_ && now >= last_cut_ + kQuiet) {
    ++current_;
  }
}

void MoveLimit::overloaded(SteadyTime now) {
  if (last_cut_ != SteadyTime::min() && now < last_cut_ + kQuiet) {
    return;  // answers to moves that were under way at the last cut show nothing new
  }
  last_cut_ = now;
  current_ = std::max(std::min(kLeast, most_), current_ / 2);
}

}  // namespace sharder::rebalancer
