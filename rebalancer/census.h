#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>

#include "base/clock.h"

namespace sharder::rebalancer {

// Counts the objects that are in some state (they drain, they have no shard), and knows since when the oldest is. One
// list of them all makes one Census, which replaces the one before it and takes the ages from there:
//
//   Census list;
//   list.shown(object, census.since(object, now), name);  // of each that the list shows
//   census = std::move(list);
//
// Constant memory: it keeps the oldest kKept objects by age and name, and for all others one lower limit of the time
// since when they are in the state. So what happens between two lists is counted exactly as long as there are no more
// than kKept. An object's age counts from when this replica first saw it. Objects go by object_hash(). Pure.
class Census {
 public:
  static constexpr std::size_t kKept = 1000;

  // Since when the object is in the state, for the list that shows it `now`.
  SteadyTime since(std::uint64_t object, SteadyTime now) const;
  // A list shows the object.
  void shown(std::uint64_t object, SteadyTime since, std::string name = {});
  // After the list, the object came into the state, or is in it and has changed. Past kKept nobody knows which of the
  // two: it is not counted, and the count is vague until the next list.
  void came(std::uint64_t object, SteadyTime now, std::string name = {});
  // It is in the state no longer.
  void gone(std::uint64_t object);
  // A list that did not come to its end has shown these: there are as many at least.
  void at_least(const Census& list);

  std::size_t count() const { return count_; }
  bool is_vague() const { return is_vague_; }
  // Whether the object is one of those that are kept.
  bool has(std::uint64_t object) const { return kept_.contains(object); }
  // Since when the oldest is in the state; SteadyTime::max() when none is.
  SteadyTime oldest() const;
  // The name of the oldest that is kept; "" when none is.
  std::string example() const;

 private:
  struct Kept {
    SteadyTime since;
    std::string name;
  };

  void keep(std::uint64_t object, SteadyTime since, std::string name);
  void drop(std::unordered_map<std::uint64_t, Kept>::iterator kept);

  std::size_t count_ = 0;
  bool is_vague_ = false;
  std::unordered_map<std::uint64_t, Kept> kept_;
  std::set<std::pair<SteadyTime, std::uint64_t>> by_age_;
  SteadyTime rest_since_ = SteadyTime::max();  // none of those not kept is older
};

}  // namespace sharder::rebalancer
