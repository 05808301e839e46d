#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/clock.h"
#include "shard/object.h"

namespace sharder::shard {

struct ObjectNameHash {
  std::size_t operator()(const ObjectName& object) const;
};

// Which objects have to be reconciled, as client-go's rate-limited work queue: each at most once, never one object by
// two workers, in the order in which they came; later ones by time. Pure; the owner locks it.
//
//   add ──► waiting ── take ──► processing ── done ──► (gone)
//              ▲ due                │ added meanwhile
//           delayed ◄── retry       └──► waiting
class WorkQueue {
 public:
  struct Item {
    ObjectName object;
    std::chrono::nanoseconds waited{0};  // since it could have been taken
  };

  // Pauses after failures in a row: base, twice base, ... up to max.
  WorkQueue(std::chrono::nanoseconds backoff_base, std::chrono::nanoseconds backoff_max);

  // At once; if it is being processed, once more after that.
  void add(const ObjectName& object, SteadyTime now);
  // Not before `due`, unless something else adds it earlier.
  void add_at(const ObjectName& object, SteadyTime due);
  // After a failure: with a pause that grows. Returns the pause.
  std::chrono::nanoseconds retry(const ObjectName& object, SteadyTime now);
  // After a success: the next failure has a short pause again.
  void forget_failures(const ObjectName& object) { failures_.erase(object); }
  // It is not wanted any more: it is neither waiting nor delayed, and its failures are forgotten. When it is being
  // processed, done() follows as ever, and it is not queued again by then.
  void drop(const ObjectName& object);

  // The next one that waits, which is being processed from now on; nullopt: none is due.
  std::optional<Item> take(SteadyTime now);
  // It is not being processed any more.
  void done(const ObjectName& object, SteadyTime now);

  bool is_processing(const ObjectName& object) const { return processing_.contains(object); }
  std::size_t processing() const { return processing_.size(); }
  // Those that wait, due or being processed and added meanwhile; delayed ones are not counted (as in client-go).
  std::size_t depth() const { return waiting_.size(); }
  // When take() has something: SteadyTime::min() for at once, nullopt: not before somebody adds.
  std::optional<SteadyTime> next_due() const;

 private:
  void move_due(SteadyTime now);
  void undelay(const ObjectName& object);

  const std::chrono::nanoseconds backoff_base_;
  const std::chrono::nanoseconds backoff_max_;
  std::uint64_t last_place_ = 0;
  std::map<std::uint64_t, ObjectName> order_;  // those that wait and are not being processed
  struct Waiting {
    SteadyTime since;
    std::uint64_t place;  // in order_; 0: it is being processed, and waits for its end
  };
  std::unordered_map<ObjectName, Waiting, ObjectNameHash> waiting_;
  std::set<std::pair<SteadyTime, ObjectName>> delayed_;
  std::unordered_map<ObjectName, SteadyTime, ObjectNameHash> due_;  // of delayed_
  std::unordered_set<ObjectName, ObjectNameHash> processing_;
  std::unordered_map<ObjectName, int, ObjectNameHash> failures_;
};

}  // namespace sharder::shard
