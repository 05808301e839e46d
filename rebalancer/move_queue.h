#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "rebalancer/decision.h"

namespace sharder::rebalancer {

// An object of a ring. `source`: the place of its resource in RingView::sources().
struct ObjectId {
  std::uint32_t source = 0;
  std::string object_namespace;  // "" for cluster-scoped
  std::string name;
  bool operator==(const ObjectId&) const = default;
};

// "ns/name", or "name": for messages.
std::string to_string(const ObjectId& id);

// A patch whose answer was lost. It may have been carried out; it is counted when the object shows that.
struct Unanswered {
  MoveKind kind;
  std::string shard;  // where it sends the object
};

// One move of one object.
struct Move {
  Decision decision;  // its shard lives as long as the ring that it was decided by
  Placement placement = {};
  std::string resource_version;  // it was decided on this; "": the object was shown without one
  std::uint64_t object = 0;      // object_hash() of it
  SteadyTime found = {};
  std::optional<Unanswered> unanswered = {};
  int failures = 0;      // in a row
  bool delayed = false;  // waits for long: it was rejected, or is repeated again and again

  // The object has to be read. It keeps its place in the order.
  void forget_decision() { decision = {.kind = MoveKind::kStale, .is_orphan = decision.is_orphan}; }
};

// The moves of one ring that were found and are not done: one for each object, bounded. Orphans come first; then
// sources take turns; within a source the order is the time from which a move may be sent. A source that is stuck takes
// neither room nor turns from the others. Pure.
//
//   offer ──► waiting ── take ──► in flight ── done ──► (gone)
//                ▲                    │
//                └────── retry ◄──────┘
class MoveQueue {
 public:
  // Moves of one source that wait without delay. There may be more when a change of the ring ends delays.
  static constexpr std::size_t kCapacity = 4000;
  // Delayed moves of all sources together. Further ones are forgotten: the sync finds them again.
  static constexpr std::size_t kDelayedCapacity = 1000;

  // False: it is full, come again later. If an older move of the object waits, the new one replaces it and takes its
  // place in the order. If one is in flight, it is noted that the object has to be looked at again.
  bool offer(const ObjectId& id, Move move, SteadyTime not_before);
  // The object needs no move any more. A move in flight goes on. If an answer was lost, the object has to be read.
  void retract(const ObjectId& id);
  // In this version the object needs no move. If its move was decided on another version, nobody knows which of the two
  // is newer: the decision becomes stale.
  void retract(const ObjectId& id, const std::string& resource_version);
  // The ring has changed. Moves that wait are decided anew and keep their place in the order; the pauses of the older
  // ring end. An object that needs no move any more is forgotten, or has to be read if an answer was lost. An object
  // whose move is in flight has to be looked at again when that is done.
  void decide_anew(const std::function<Decision(std::uint32_t source, const Placement&)>& decide, SteadyTime now);
  // Ends the pauses of a source's moves, except those that are delayed.
  void hasten(std::uint32_t source, SteadyTime now);
  // Forgets the moves that wait, of a source or of a namespace.
  void clear_source(std::uint32_t source);
  void clear_namespace(const std::string& name);

  struct Taken {
    ObjectId id;
    Move move;
  };
  // Takes the next move that may be sent; it is in flight from now on. It is one of a source with `may_send(source)`.
  std::optional<Taken> take(SteadyTime now, const std::function<bool(std::uint32_t source)>& may_send);
  // A move in flight waits again. False: too many moves are delayed, it is forgotten.
  bool retry(const ObjectId& id, Move move, SteadyTime not_before);
  // A move in flight is done or given up. False: the object was offered meanwhile; it stays in flight, and has to be
  // looked at again.
  bool done(const ObjectId& id);

  // An object in flight is about to be read. The read sees all that was offered before, so done() does not ask for a
  // second look because of that.
  void looking(const ObjectId& id);

  // When take() may have a move of the source; nullopt: never.
  std::optional<SteadyTime> next_due(std::uint32_t source) const;
  // Of all sources, and of one.
  std::size_t in_flight() const { return in_flight_; }
  std::size_t in_flight(std::uint32_t source) const;
  // Waiting or in flight, but not delayed: of all sources, and of one.
  std::size_t active() const { return entries_.size() - delayed_; }
  std::size_t active(std::uint32_t source) const;
  // Of one source, all of them.
  std::size_t size(std::uint32_t source) const;
  // Calls `visit` with each move that waits or is in flight.
  void for_each(const std::function<void(const ObjectId&, const Move&)>& visit) const;
  // About how many orphans of one source wait for a place; delayed ones are not counted.
  std::size_t waiting_orphans(std::uint32_t source) const;

 private:
  using Place = std::pair<SteadyTime, std::uint64_t>;
  struct Hash {
    std::size_t operator()(const ObjectId& id) const;
  };
  struct Entry {
    Move move;
    Place place = {};  // in waiting_
    bool in_flight = false;
    bool again = false;
  };
  using Entries = std::unordered_map<ObjectId, Entry, Hash>;

  void wait(Entries::value_type& entry, Place place);
  void stop_waiting(Entries::value_type& entry);
  void erase(Entries::iterator entry);
  template <class Predicate>
  void clear_if(Predicate predicate);

  using Waiting = std::map<Place, Entries::value_type*>;
  struct SourceState {
    std::array<Waiting, 2> waiting;  // orphans, others
    std::size_t size = 0;
    std::size_t delayed = 0;
    std::size_t in_flight = 0;
  };
  SourceState& of(const ObjectId& id);
  static Waiting& waiting_in(SourceState& state, const Entry& entry) {
    return state.waiting[entry.move.decision.is_orphan ? 0 : 1];
  }
  void count_delayed(const ObjectId& id, const Entry& entry, bool add);
  void set_in_flight(Entries::value_type& entry, bool in_flight);

  Entries entries_;
  std::vector<SourceState> sources_;
  std::size_t turn_ = 0;  // the source whose turn it is: a place in sources_
  std::uint64_t last_place_ = 0;
  std::size_t in_flight_ = 0;
  std::size_t delayed_ = 0;
};

}  // namespace sharder::rebalancer
