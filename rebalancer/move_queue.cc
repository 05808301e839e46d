#include "rebalancer/move_queue.h"

#include <algorithm>
#include <functional>
#include <iterator>
#include <utility>

namespace sharder::rebalancer {

namespace {

// Versions that are not known are never the same.
bool same_version(const std::string& a, const std::string& b) {
  return !a.empty() && a == b;
}

}  // namespace

std::string to_string(const ObjectId& id) {
  return id.object_namespace.empty() ? id.name : id.object_namespace + "/" + id.name;
}

std::size_t MoveQueue::Hash::operator()(const ObjectId& id) const {
  const std::hash<std::string> hash;
  return ((hash(id.name) * 31) + hash(id.object_namespace)) * 31 + id.source;
}

MoveQueue::SourceState& MoveQueue::of(const ObjectId& id) {
  if (sources_.size() <= id.source) {
    sources_.resize(id.source + 1);
  }
  return sources_[id.source];
}

void MoveQueue::count_delayed(const ObjectId& id, const Entry& entry, bool add) {
  if (!entry.move.delayed) {
    return;
  }
  SourceState& source = of(id);
  delayed_ = add ? delayed_ + 1 : delayed_ - 1;
  source.delayed = add ? source.delayed + 1 : source.delayed - 1;
}

bool MoveQueue::offer(const ObjectId& id, Move move, SteadyTime not_before) {
  const auto known = entries_.find(id);
  if (known != entries_.end() && known->second.in_flight) {
    known->second.again =
        known->second.again || !same_version(known->second.move.resource_version, move.resource_version);
    return true;
  }
  Place place{not_before, ++last_place_};
  const bool has_place = known != entries_.end();
  if (has_place) {
    const Move& older = known->second.move;
    if (same_version(older.resource_version, move.resource_version) && older.decision.kind != MoveKind::kStale) {
      return true;
    }
    place = known->second.place;
    if (move.delayed) {
      place.first = std::max(place.first, not_before);
    }
    move.delayed = move.delayed || older.delayed;
    move.failures = older.failures;
    move.unanswered = older.unanswered;
    move.found = older.found;
    erase(known);
  }
  if (move.delayed && delayed_ >= kDelayedCapacity) {
    return true;
  }
  if (!move.delayed && !has_place && active(id.source) >= kCapacity) {
    return false;
  }
  const auto [entry, added] = entries_.emplace(id, Entry{});
  entry->second.move = std::move(move);
  count_delayed(id, entry->second, true);
  ++of(id).size;
  wait(*entry, place);
  return true;
}

void MoveQueue::retract(const ObjectId& id) {
  const auto known = entries_.find(id);
  if (known == entries_.end() || known->second.in_flight) {
    return;
  }
  if (known->second.move.unanswered) {
    known->second.move.forget_decision();
  } else {
    erase(known);
  }
}

void MoveQueue::retract(const ObjectId& id, const std::string& resource_version) {
  const auto known = entries_.find(id);
  if (known == entries_.end() || known->second.in_flight) {
    return;
  }
  if (same_version(known->second.move.resource_version, resource_version)) {
    erase(known);
    return;
  }
  known->second.move.forget_decision();
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

void MoveQueue::decide_anew(const std::function<Decision(std::uint32_t source, const Placement&)>& decide,
                            SteadyTime now) {
  for (auto next = entries_.begin(); next != entries_.end();) {
    const auto known = next++;
    auto& [id, entry] = *known;
    if (entry.in_flight) {
      entry.again = true;
      continue;
    }
    Decision decision = entry.move.decision;
    if (decision.kind != MoveKind::kStale) {  // else it has to be read anyway
      decision = decide(id.source, entry.move.placement);
      if (decision.kind == MoveKind::kNone) {
        if (!entry.move.unanswered) {
          erase(known);
          continue;
        }
        decision.kind = MoveKind::kStale;
      }
    }
    stop_waiting(*known);
    count_delayed(id, entry, false);
    entry.move.decision = decision;
    entry.move.failures = 0;
    entry.move.delayed = false;
    wait(*known, {std::min(entry.place.first, now), entry.place.second});
  }
}

void MoveQueue::hasten(std::uint32_t source, SteadyTime now) {
  for (auto& entry : entries_) {
    if (entry.first.source == source && !entry.second.in_flight && !entry.second.move.delayed &&
        entry.second.place.first > now) {
      stop_waiting(entry);
      wait(entry, {now, entry.second.place.second});
    }
  }
}

void MoveQueue::clear_source(std::uint32_t source) {
  clear_if([source](const ObjectId& id) { return id.source == source; });
}

void MoveQueue::clear_namespace(const std::string& name) {
  clear_if([&name](const ObjectId& id) { return id.object_namespace == name; });
}

std::optional<MoveQueue::Taken> MoveQueue::take(SteadyTime now,
                                                const std::function<bool(std::uint32_t source)>& may_send) {
  for (const std::size_t rank : {0, 1}) {
    for (std::size_t step = 0; step < sources_.size(); ++step) {
      const auto source = static_cast<std::uint32_t>((turn_ + step) % sources_.size());
      Waiting& waiting = sources_[source].waiting[rank];
      if (!waiting.empty() && waiting.begin()->first.first <= now && may_send(source)) {
        turn_ = source + 1;
        auto& taken = *waiting.begin()->second;
        stop_waiting(taken);
        set_in_flight(taken, true);
        return Taken{.id = taken.first, .move = taken.second.move};
      }
    }
  }
  return std::nullopt;
}

void MoveQueue::set_in_flight(Entries::value_type& entry, bool in_flight) {
  if (entry.second.in_flight == in_flight) {
    return;
  }
  entry.second.in_flight = in_flight;
  SourceState& source = of(entry.first);
  in_flight_ = in_flight ? in_flight_ + 1 : in_flight_ - 1;
  source.in_flight = in_flight ? source.in_flight + 1 : source.in_flight - 1;
}

bool MoveQueue::retry(const ObjectId& id, Move move, SteadyTime not_before) {
  const auto known = entries_.find(id);
  if (move.delayed && !known->second.move.delayed && delayed_ >= kDelayedCapacity) {
    erase(known);
    return false;
  }
  count_delayed(id, known->second, false);
  set_in_flight(*known, false);
  known->second = {.move = std::move(move)};
  count_delayed(id, known->second, true);
  wait(*known, {not_before, ++last_place_});
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

std::optional<SteadyTime> MoveQueue::next_due(std::uint32_t source) const {
  std::optional<SteadyTime> due;
  if (source < sources_.size()) {
    for (const Waiting& waiting : sources_[source].waiting) {
      if (!waiting.empty()) {
        due = std::min(due.value_or(SteadyTime::max()), waiting.begin()->first.first);
      }
    }
  }
  return due;
}

std::size_t MoveQueue::in_flight(std::uint32_t source) const {
  return source < sources_.size() ? sources_[source].in_flight : 0;
}

std::size_t MoveQueue::active(std::uint32_t source) const {
  return source < sources_.size() ? sources_[source].size - sources_[source].delayed : 0;
}

std::size_t MoveQueue::size(std::uint32_t source) const {
  return source < sources_.size() ? sources_[source].size : 0;
}

std::size_t MoveQueue::waiting_orphans(std::uint32_t source) const {
  if (source >= sources_.size()) {
    return 0;
  }
  const SourceState& state = sources_[source];
  return state.waiting[0].size() - std::min(state.waiting[0].size(), state.delayed);
}

void MoveQueue::wait(Entries::value_type& entry, Place place) {
  entry.second.place = place;
  waiting_in(of(entry.first), entry.second).emplace(entry.second.place, &entry);
}

void MoveQueue::stop_waiting(Entries::value_type& entry) {
  waiting_in(of(entry.first), entry.second).erase(entry.second.place);
}

void MoveQueue::erase(Entries::iterator entry) {
  if (!entry->second.in_flight) {
    stop_waiting(*entry);
  }
  set_in_flight(*entry, false);
  count_delayed(entry->first, entry->second, false);
  --of(entry->first).size;
  entries_.erase(entry);
}

void MoveQueue::for_each(const std::function<void(const ObjectId&, const Move&)>& visit) const {
  for (const auto& [id, entry] : entries_) {
    visit(id, entry.move);
  }
}

}  // namespace sharder::rebalancer
