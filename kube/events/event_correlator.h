#pragma once

#include <chrono>
#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "base/clock.h"
#include "kube/events/events.h"

// Decides which Events are written, and which are only counted. Pure: the caller brings the time. It does what
// client-go's legacy recorder does, with its numbers, but in less memory (client-go keeps 4,096 of each).
namespace sharder::kube {

// A map that forgets what was used longest ago. Owned by one thread.
template <class Value>
class LruMap {
 public:
  explicit LruMap(std::size_t capacity) : capacity_(capacity) {}

  // The value of `key`, a new one if there is none. The reference holds until the next call.
  Value& operator[](const std::string& key) {
    if (const auto found = index_.find(key); found != index_.end()) {
      order_.splice(order_.begin(), order_, found->second);
      return order_.front().second;
    }
    if (order_.size() == capacity_) {
      index_.erase(order_.back().first);
      order_.pop_back();
    }
    order_.emplace_front(key, Value());
    index_.emplace(order_.front().first, order_.begin());
    return order_.front().second;
  }
  // Does not count as a use.
  Value* find(std::string_view key) {
    const auto found = index_.find(key);
    return found == index_.end() ? nullptr : &found->second->second;
  }
  void erase(std::string_view key) {
    if (const auto found = index_.find(key); found != index_.end()) {
      const auto entry = found->second;
      index_.erase(found);
      order_.erase(entry);
    }
  }
  std::size_t size() const { return order_.size(); }

 private:
  using Order = std::list<std::pair<std::string, Value>>;
  std::size_t capacity_;
  Order order_;  // most recently used first
  std::map<std::string_view, typename Order::iterator, std::less<>> index_;
};

// An Event as it is to stand on the API server.
struct EventRecord {
  std::string key;   // the same for what is counted together
  std::string name;  // of the Event object
  std::string message;
  WallTime first;
  WallTime last;
  std::int64_t count = 1;
};

// Owned by one thread.
class EventCorrelator {
 public:
  static constexpr std::size_t kMaxEntries = 1024;
  static constexpr int kBurst = 25;                  // Events for an object and type, then
  static constexpr std::chrono::minutes kRefill{5};  // one more after each such time
  // When so many different messages of one object, type and reason have come, each within kAggregateFor of the one
  // before, the last and all further ones become one Event.
  static constexpr std::size_t kMaxSimilar = 10;
  static constexpr std::chrono::minutes kAggregateFor{10};

  // What is to be written now: a new Event (count 1), or the next count of one that was written before. nullopt: the
  // object's budget is spent.
  std::optional<EventRecord> observe(const ObjectReference& object, EventType type, std::string_view reason,
                                     std::string_view message, WallTime wall, SteadyTime now);
  // It was not written: it counts as new the next time.
  void forget(std::string_view key) { records_.erase(key); }

 private:
  struct Similar {
    std::set<std::string, std::less<>> messages;
    SteadyTime last = SteadyTime::min();
  };
  struct Budget {
    double tokens = kBurst;
    std::optional<SteadyTime> refilled;
  };

  bool is_one_of_many(const std::string& group, std::string_view message, SteadyTime now);
  bool spend(const std::string& object, SteadyTime now);
  std::string next_name(std::string_view object, WallTime now);

  LruMap<EventRecord> records_{kMaxEntries};
  LruMap<Similar> similar_{kMaxEntries};
  LruMap<Budget> budgets_{kMaxEntries};
  std::int64_t last_nanoseconds_ = 0;  // of the name that was given last
};

}  // namespace sharder::kube
