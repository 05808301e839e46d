#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <string_view>

#include "base/clock.h"

namespace sharder::rebalancer {

// Remembers the last 2,048 objects that were moved, in constant memory, for two rules:
// - A list or watch that shows an object as it was before its move shows the past: it was answered before the move.
// - Objects that need the same move again and again while their ring stays as it is, because something strips or
//   overwrites their labels, are moved with pauses: none before the second move, then 1 s, 2 s, 4 s ... up to 5 min.
// An object that is forgotten too early costs a patch that conflicts, or one that comes too soon. Pure.
class RecentMoves {
 public:
  static constexpr std::chrono::seconds kFirstPause{1};
  static constexpr std::chrono::seconds kLongestPause{300};
  // An object that was not moved for so long counts as new.
  static constexpr std::chrono::seconds kForget{600};
  // No list or watch is answered so late. Not longer: a version may come back, with an older copy of etcd's data.
  static constexpr std::chrono::seconds kPast{60};

  // `object`: object_hash() of it. `past_version`: the resourceVersion that it had before the move; "" if the
  // move did not change it, because somebody's webhook took back what the patch set. `ring_version`: of the ring that
  // the move was decided by; with another one the object counts as new.
  void moved(std::uint64_t object, std::string_view past_version, std::uint64_t ring_version, SteadyTime now);
  // Whether the object had this version until it was moved lately, and so has it no more.
  bool is_past(std::uint64_t object, std::string_view resource_version, SteadyTime now) const;
  // The API server's history may be another one now: an object that was moved until now may have any version.
  void forget_versions(SteadyTime now) { versions_since_ = now; }
  // Moves of this object in a row, 0 when it is not known.
  int repeats(std::uint64_t object, std::uint64_t ring_version, SteadyTime now) const;
  // When it may be moved next.
  SteadyTime not_before(std::uint64_t object, std::uint64_t ring_version, SteadyTime now) const;

 private:
  struct Slot {
    std::uint64_t object = 0;
    std::uint64_t version_hash = 0;
    std::uint64_t ring_version = 0;
    SteadyTime last = {};
    int moves = 0;  // 0: the slot is free
  };
  static constexpr std::size_t kSets = 512;
  using Set = std::array<Slot, 4>;  // one of them is an object's; the one that moved longest ago makes room

  const Slot* find(std::uint64_t object) const;
  const Slot* find(std::uint64_t object, std::uint64_t ring_version, SteadyTime now) const;

  std::array<Set, kSets> sets_{};
  SteadyTime versions_since_ = SteadyTime::min();
};

}  // namespace sharder::rebalancer
