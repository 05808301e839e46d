#include "rebalancer/repeat_guard.h"

#include <algorithm>

namespace sharder::rebalancer {

const RepeatGuard::Slot* RepeatGuard::find(std::uint64_t object, std::uint64_t ring_version, SteadyTime now) const {
  const Slot& slot = slots_[object % kSlots];
  const bool known = slot.moves > 0 && slot.object == object && slot.ring_version == ring_version;
  return known && now < slot.last + kForget ? &slot : nullptr;
}

void RepeatGuard::moved(std::uint64_t object, std::uint64_t ring_version, SteadyTime now) {
  const int moves = repeats(object, ring_version, now);
  slots_[object % kSlots] = {.object = object, .ring_version = ring_version, .last = now, .moves = moves + 1};
}

int RepeatGuard::repeats(std::uint64_t object, std::uint64_t ring_version, SteadyTime now) const {
  const Slot* slot = find(object, ring_version, now);
  return slot == nullptr ? 0 : slot->moves;
}

SteadyTime RepeatGuard::not_before(std::uint64_t object, std::uint64_t ring_version, SteadyTime now) const {
  const Slot* slot = find(object, ring_version, now);
  if (slot == nullptr || slot->moves < 2) {
    return now;
  }
  const int doublings = std::min(slot->moves - 2, 20);
  return std::max(now, slot->last + std::min(kFirstPause * (1 << doublings), kLongestPause));
}

}  // namespace sharder::rebalancer
