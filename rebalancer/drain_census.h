#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>

#include "base/clock.h"

namespace sharder::rebalancer {

// Counts the objects that drain, and knows since when the oldest drains, from one list of them after the other.
// Constant memory: it keeps the age of each of the oldest kKept objects, and one upper limit for the age of all others.
// An object's age counts from when this replica first saw it drain. Pure.
class DrainCensus {
 public:
  static constexpr std::size_t kKept = 1000;

  // A list begins: objects that it does not show drain no longer.
  void list_begins();
  // `object`: object_hash() of it.
  void shown(std::uint64_t object, SteadyTime now);
  void list_ends();

  // Of the last list; complete only when that has ended.
  std::size_t draining() const { return count_; }
  // Since when the oldest drains; nullopt when none does.
  std::optional<SteadyTime> oldest() const;

 private:
  std::size_t count_ = 0;
  std::unordered_map<std::uint64_t, SteadyTime> since_;
  std::set<std::pair<SteadyTime, std::uint64_t>> by_age_;
  SteadyTime rest_since_ = SteadyTime::max();             // none of those not kept is older
  std::unordered_map<std::uint64_t, SteadyTime> before_;  // during a list: the ages known from before it
};

}  // namespace sharder::rebalancer
