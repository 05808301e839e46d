#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>

#include "base/clock.h"

namespace sharder::rebalancer {

// Notices objects that need the same move again and again while their ring stays as it is, because something strips or
// overwrites their labels, and spaces such moves out: no pause before the second, then 1 s, 2 s, 4 s ... up to 5 min.
// Remembers the last few thousand objects that were moved, in constant memory: an object may push another one out,
// which then only is moved sooner than need be. Pure.
class RepeatGuard {
 public:
  static constexpr std::chrono::seconds kFirstPause{1};
  static constexpr std::chrono::seconds kLongestPause{300};
  // An object that was left in peace so long is a new one.
  static constexpr std::chrono::seconds kForget{600};

  // `object`: a hash of its uid. `ring_version`: of the ring that the move was decided by; with another one the object
  // is a new one.
  void moved(std::uint64_t object, std::uint64_t ring_version, SteadyTime now);
  // Moves of this object in a row, 0 when it is not known.
  int repeats(std::uint64_t object, std::uint64_t ring_version, SteadyTime now) const;
  // When it may be moved next.
  SteadyTime not_before(std::uint64_t object, std::uint64_t ring_version, SteadyTime now) const;

 private:
  struct Slot {
    std::uint64_t object = 0;
    std::uint64_t ring_version = 0;
    SteadyTime last = {};
    int moves = 0;
  };
  static constexpr std::size_t kSlots = 2048;

  const Slot* find(std::uint64_t object, std::uint64_t ring_version, SteadyTime now) const;

  std::array<Slot, kSlots> slots_{};
};

}  // namespace sharder::rebalancer
