#include "rebalancer/move_queue.h"

#include <algorithm>
#include <functional>
#include <iterator>
#include <utility>

namespace sharder::rebalancer {

std::string to_string(const ObjectId& id) {
  return id.object_namespace.empty() ? id.name : id.object_namespace + "/" + id.name;
}

std::size_t MoveQueue::Hash::operator()(const ObjectId& id) const {
  const std::hash<std::string> hash;
  return ((hash(id.name) * 31) + hash(id.object_namespace)) * 31 + id.source;
}

bool MoveQueue::offer(const ObjectId& id, Move move, SteadyTime not_before) {
  const auto known = entries_.find(id);
  if (known != entries_.end() && known->second.in_flight) {
    known->second.again = known->second.again || known->second.move.resource_version != move.resource_version;
    return true;
  }
  if (known != entries_.end()) {
    if (known->second.move.resource_version == move.resource_version) {
      return true;
    }
    erase(known);
  }
  if (move.delayed && delayed_ >= kDelayedCapacity) {
    return true;
  }
  if (!move.delayed && active() >= kCapacity) {
    return false;
  }
  const auto [entry, added] = entries_.emplace(id, Entry{});
  delayed_ += move.delayed ? 1 : 0;
  entry->second.move = std::move(move);
  if (sizes_.size() <= id.source) {
    sizes_.resize(id.source + 1);
  }
  ++sizes_[id.source];
  wait(*entry, not_before);
  return true;
}

void MoveQueue::retract(const ObjectId& id) {
  if (const auto known = entries_.find(id); known != entries_.end() && !known->second.in_flight) {
    erase(known);
  }
}

template <class Predicate>
void MoveQueue::clear_if(Predicate predicate) {
  for (auto entry = entries_.begin(); entry != entries_.end();) {
    const auto next = std::next(entry);
    if (!entry->second.in_flight && predicate(entry->first)) {
      erase(entry);
    }
    entry = next;
  }
}

void MoveQueue::clear() {
  clear_if([](const ObjectId&) { return true; });
  for (auto& [id, entry] : entries_) {
    entry.again = true;
  }
}

void MoveQueue::clear_source(std::uint32_t source) {
  clear_if([source](const ObjectId& id) { return id.source == source; });
}

void MoveQueue::clear_namespace(const std::string& name) {
  clear_if([&name](const ObjectId& id) { return id.object_namespace == name; });
}

std::optional<MoveQueue::Taken> MoveQueue::take(SteadyTime now) {
  for (Waiting& waiting : waiting_) {
    if (!waiting.empty() && waiting.begin()->first.first <= now) {
      auto& [id, entry] = *waiting.begin()->second;
      stop_waiting(entry);
      entry.in_flight = true;
      ++in_flight_;
      return Taken{.id = id, .move = entry.move};
    }
  }
  return std::nullopt;
}

bool MoveQueue::retry(const ObjectId& id, Move move, SteadyTime not_before) {
  const auto known = entries_.find(id);
  if (move.delayed && !known->second.move.delayed && delayed_ >= kDelayedCapacity) {
    erase(known);
    return false;
  }
  delayed_ -= known->second.move.delayed ? 1 : 0;
  delayed_ += move.delayed ? 1 : 0;
  --in_flight_;
  known->second = {.move = std::move(move)};
  wait(*known, not_before);
  return true;
}

bool MoveQueue::done(const ObjectId& id) {
  const auto known = entries_.find(id);
  if (std::exchange(known->second.again, false)) {
    return false;
  }
  erase(known);
  return true;
}

void MoveQueue::looking(const ObjectId& id) {
  entries_.find(id)->second.again = false;
}

std::optional<SteadyTime> MoveQueue::next_due() const {
  std::optional<SteadyTime> due;
  for (const Waiting& waiting : waiting_) {
    if (!waiting.empty()) {
      due = std::min(due.value_or(SteadyTime::max()), waiting.begin()->first.first);
    }
  }
  return due;
}

std::size_t MoveQueue::size(std::uint32_t source) const {
  return source < sizes_.size() ? sizes_[source] : 0;
}

void MoveQueue::wait(Entries::value_type& entry, SteadyTime not_before) {
  entry.second.place = {not_before, ++last_place_};
  waiting_with(entry.second).emplace(entry.second.place, &entry);
}

void MoveQueue::stop_waiting(Entry& entry) {
  waiting_with(entry).erase(entry.place);
}

void MoveQueue::erase(Entries::iterator entry) {
  if (entry->second.in_flight) {
    --in_flight_;
  } else {
    stop_waiting(entry->second);
  }
  delayed_ -= entry->second.move.delayed ? 1 : 0;
  --sizes_[entry->first.source];
  entries_.erase(entry);
}

}  // namespace sharder::rebalancer
