#include "rebalancer/move_limit.h"

#include <algorithm>

namespace sharder::rebalancer {

void MoveLimit::answered(std::chrono::nanoseconds duration, bool throttled, SteadyTime now) {
  if (throttled || duration > kSlow) {
    refused(now);
  } else if (current_ < most_ && now >= last_cut_ + kQuiet) {
    ++current_;
  }
}

void MoveLimit::refused(SteadyTime now) {
  if (last_cut_ != SteadyTime::min() && now < last_cut_ + kQuiet) {
    return;  // what was under way then says nothing new
  }
  last_cut_ = now;
  current_ = std::max(std::min(kLeast, most_), current_ / 2);
}

}  // namespace sharder::rebalancer
