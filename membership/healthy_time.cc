#include "membership/healthy_time.h"

#include <algorithm>

namespace sharder::membership {

void HealthyTime::watch_lost() {
  watching_ = false;
  last_success_.reset();
}

void HealthyTime::probe_succeeded(SteadyTime now) {
  if (!watching_) {
    return;
  }
  if (last_success_ && now - *last_success_ <= kMaxGap) {
    total_ += now - *last_success_;
  }
  last_success_ = now;
}

HealthyTime::Mark HealthyTime::mark(SteadyTime now) const {
  const auto open = last_success_ ? now - *last_success_ : std::chrono::nanoseconds(0);
  // A gap longer than kMaxGap will not count, so the mark must not include it.
  return open <= kMaxGap ? total_ + open : total_;
}

std::chrono::nanoseconds HealthyTime::since(Mark mark) const {
  return std::max(total_ - mark, std::chrono::nanoseconds(0));
}

}  // namespace sharder::membership
