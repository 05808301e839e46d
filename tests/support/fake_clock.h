#pragma once

#include <mutex>

#include "base/clock.h"

namespace sharder::testing {

// A clock that stands still until it is moved. Safe from any thread.
class FakeClock final : public Clock {
 public:
  WallTime wall() const override { return std::chrono::floor<std::chrono::microseconds>(read(wall_)); }
  SteadyTime steady() const override { return read(steady_); }
  BootTime boot() const override { return read(boot_); }

  // Time passes: all three clocks go on.
  void advance(std::chrono::nanoseconds by) {
    std::lock_guard lock(mutex_);
    wall_ += by;
    steady_ += by;
    boot_ += by;
  }

 private:
  template <class T>
  T read(const T& value) const {
    std::lock_guard lock(mutex_);
    return value;
  }

  mutable std::mutex mutex_;
  // In nanoseconds, so that many small steps are as long as one large one.
  std::chrono::sys_time<std::chrono::nanoseconds> wall_{std::chrono::sys_days(std::chrono::year(2026) / 1 / 1)};
  SteadyTime steady_{std::chrono::hours(1)};
  BootTime boot_{std::chrono::hours(1)};
};

}  // namespace sharder::testing
