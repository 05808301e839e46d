#include "controllerring/repairs.h"

#include <algorithm>

namespace sharder::controllerring {

namespace {

// The watch may still show the configuration from before our own last apply; the next event then shows that it is
// right.
constexpr std::chrono::seconds kPatience{1};
constexpr std::chrono::seconds kFirstPause{2};

}  // namespace

Repairs::Repairs(std::chrono::nanoseconds sync_period)
    : sync_period_(sync_period),
      pauses_({.initial = kFirstPause, .max = std::chrono::duration_cast<std::chrono::milliseconds>(sync_period)}) {}

void Repairs::seen(bool right, SteadyTime now) {
  if (right) {
    due_.reset();
  } else if (!due_) {
    if (lasted(now)) {
      pauses_.reset();
      not_before_ = now;
    }
    due_ = std::max(now + kPatience, not_before_);
  }
}

void Repairs::applying(SteadyTime now) {
  if (due_) {
    due_.reset();
    pause(now);
  }
}

void Repairs::taken_back(SteadyTime now) {
  if (!may_take_back(now)) {
    return;  // a pause has begun already
  }
  if (lasted(now)) {
    pauses_.reset();
  }
  pause(now);
  if (due_) {  // it was undone before this was known
    due_ = std::max(*due_, not_before_);
  }
}

void Repairs::pause(SteadyTime now) {
  repaired_ = now;
  not_before_ = now + pauses_.next();
}

bool Repairs::lasted(SteadyTime now) const {
  return !due_ && (!repaired_ || now - *repaired_ >= sync_period_);
}

}  // namespace sharder::controllerring
