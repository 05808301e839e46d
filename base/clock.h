#pragma once

#include <chrono>

namespace sharder {

// CLOCK_BOOTTIME: monotonic, and it goes on while the machine is suspended. The *holder* of a lease measures with it
// how long its lease is valid: after a suspend, it must not believe in a lease that has expired meanwhile.
struct BootClock {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<BootClock>;
  static constexpr bool is_steady = true;  // NOLINT(readability-identifier-naming): of std::chrono
  static time_point now() noexcept;
};

using BootTime = BootClock::time_point;
// CLOCK_MONOTONIC. An *observer* measures with it how long it has seen nothing from a lease's holder.
using SteadyTime = std::chrono::steady_clock::time_point;
// Wall clock with the resolution of Kubernetes' MicroTime. Only written to objects and compared with times in them.
using WallTime = std::chrono::sys_time<std::chrono::microseconds>;

// The source of time; tests have their own. Safe from any thread.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual WallTime wall() const = 0;
  virtual SteadyTime steady() const = 0;
  virtual BootTime boot() const = 0;
};

class SystemClock final : public Clock {
 public:
  WallTime wall() const override;
  SteadyTime steady() const override;
  BootTime boot() const override;
};

}  // namespace sharder
