#include "rebalancer/recent_moves.h"

#include <algorithm>
#include <functional>

namespace sharder::rebalancer {

const RecentMoves::Slot* RecentMoves::find(std::uint64_t object) const {
  const Set& set = sets_[object % kSets];
  const auto* const slot =
      std::ranges::find_if(set, [object](const Slot& other) { return other.moves > 0 && other.object == object; });
  return slot == set.end() ? nullptr : slot;
}

const RecentMoves::Slot* RecentMoves::find(std::uint64_t object, std::uint64_t ring_version, SteadyTime now) const {
  const Slot* slot = find(object);
  return slot != nullptr && slot->ring_version == ring_version && now < slot->last + kForget ? slot : nullptr;
}

void RecentMoves::moved(std::uint64_t object, std::string_view past_version, std::uint64_t ring_version,
                        SteadyTime now) {
  const int moves = repeats(object, ring_version, now);
  Set& set = sets_[object % kSets];
  auto* slot = std::ranges::find(set, object, &Slot::object);
  if (slot == set.end()) {
    slot = std::ranges::min_element(set, {}, &Slot::last);
  }
  *slot = {.object = object,
           .version_hash = std::hash<std::string_view>()(past_version),
           .ring_version = ring_version,
           .last = now,
           .moves = moves + 1};
}

bool RecentMoves::is_past(std::uint64_t object, std::string_view resource_version, SteadyTime now) const {
  const Slot* slot = find(object);
  return slot != nullptr && now < slot->last + kPast && slot->last > versions_since_ && !resource_version.empty() &&
         slot->version_hash == std::hash<std::string_view>()(resource_version);
}

int RecentMoves::repeats(std::uint64_t object, std::uint64_t ring_version, SteadyTime now) const {
  const Slot* slot = find(object, ring_version, now);
  return slot == nullptr ? 0 : slot->moves;
}

SteadyTime RecentMoves::not_before(std::uint64_t object, std::uint64_t ring_version, SteadyTime now) const {
  const Slot* slot = find(object, ring_version, now);
  if (slot == nullptr || slot->moves < 2) {
    return now;
  }
  const int doublings = std::min(slot->moves - 2, 20);
  return std::max(now, slot->last + std::min(kFirstPause * (1 << doublings), kLongestPause));
}

}  // namespace sharder::rebalancer
