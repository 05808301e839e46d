#pragma once

#include <memory>
#include <string>

#include "base/clock.h"
#include "base/error.h"
#include "rebalancer/metrics.h"
#include "rebalancer/move_queue.h"
#include "rebalancer/source.h"
#include "ring/ring_set.h"

namespace sharder::rebalancer {

// A move that is under way, with the RingEntry that it was decided by.
struct Flight {
  ObjectId id;
  Move move;
  Source& source;  // for the Mover only: it may be gone when the last answer comes
  std::shared_ptr<const ring::RingEntry> entry;
  std::shared_ptr<ResourceMetrics> metrics;
  SteadyTime sent = {};  // last, after waits in the client; written on the API loop before the answer comes
  int conflicts = 0;
  bool fails = false;  // a lasting failure that is not the object's fault
};
using FlightPointer = std::shared_ptr<Flight>;

// "secrets ns/name": for messages.
inline std::string to_string(const Flight& flight) {
  return to_string(flight.source.name()) + " " + to_string(flight.id);
}

// Counts a move that was carried out, as an answer or the object itself shows. Any thread.
inline void count(const Flight& flight, MoveKind kind, SteadyTime now) {
  if (kind == MoveKind::kDrain) {
    flight.metrics->drained(now - flight.move.found);
  } else if (kind == MoveKind::kReassign) {
    flight.metrics->moved(now - flight.move.found);
  }
}

// Whether an answer to a patch is a failure. It is none when the object has gone or changed, or when the patch was not
// wanted any more.
inline bool is_failure(const Error& error) {
  return error.code != ErrorCode::kNotFound && error.code != ErrorCode::kCancelled &&
         error.code != ErrorCode::kConflict;
}

}  // namespace sharder::rebalancer
