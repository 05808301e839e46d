#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <string>

#include "base/backoff.h"
#include "base/timer.h"
#include "kube/codec/object_meta.h"
#include "kube/events/events.h"
#include "rebalancer/flight.h"
#include "rebalancer/move_limit.h"
#include "rebalancer/move_queue.h"
#include "rebalancer/move_requests.h"
#include "rebalancer/move_summary.h"
#include "rebalancer/recent_moves.h"
#include "rebalancer/ring_view.h"
#include "rebalancer/source.h"
#include "rebalancer/tools.h"

namespace sharder::rebalancer {

// Carries the moves of one ring out: one patch for each object, concurrentMoves at a time and fewer while the API
// server is overloaded.
//
//   consider ──► MoveQueue ──► patch ──► done
//                   ▲            │ conflict, timeout: read the object, decide anew ──► patch, or nothing to do
//                   │            │ (first of all where it was shown without a resourceVersion)
//                   │            │ not reached, overloaded, a webhook that fails: a pause of up to 2 s; when the server
//                   │            │ fails and fails it is told, and pauses grow until one of the resource succeeds
//                   └── pause ◄──┤ refused (too large, a validating webhook): growing pauses, named once
//                                │ not there (any more): done
//                                └ not allowed to patch the resource: tried again each second, and when that lasts, its
//                                  moves are dropped and that is told
//
// What patches of a resource meet it reports to the resource's ResourcePatches. Owned by the ring's worker, on the
// control loop. When it is destroyed, what waits in the client is not sent any more; patches under way end by
// themselves, and are counted.
class Mover {
 public:
  // `view` outlives it.
  Mover(std::shared_ptr<Tools> tools, RingView& view);

  // Decides what the object needs, and notes it: pump() sends it. False: there is no room, show it again later.
  bool consider(const Source& source, const kube::ObjectMeta& object);
  // The object has gone, or cannot be an orphan any more: what waits for it is dropped.
  void retract(const Source& source, const kube::ObjectMeta& object);
  // Sends what may be sent. Behind each page, and each batch of a watch's events, that was shown.
  void pump();
  // A pass over all objects of the source has ended.
  void pass_ended(Source& source);
  // The namespace is not selected any more: what waits of it is dropped.
  void forget_namespace(const std::string& name);
  // A watch begins anew with a list: an older copy of the API server's data perhaps.
  void lists_anew();
  // The RingEntry is another one: what was decided by the old one and is not under way is decided anew.
  void ring_changed();

  // Few enough moves wait that a page or a stream of the source's objects may come.
  bool has_room(const Source& source) const { return queue_.active(source.index()) <= kRoom; }
  // So many orphans wait that a watch of them would show little else than how we move them.
  bool has_many_orphans(const Source& source) const { return queue_.waiting_orphans(source.index()) > kRoom; }
  // From time to time, for each source.
  void look(Source& source);

 private:
  static constexpr std::size_t kRoom = 1000;
  // Moves in a row that are a quarrel with another tool.
  static constexpr int kQuarrel = 5;
  // Failures in a row, about 15 s, after which it is told that an object cannot be moved.
  static constexpr int kLastingFailures = 10;

  void arm_timer(SteadyTime now);

  void send(const FlightPointer& flight);
  void patched(const FlightPointer& flight, const Result<MoveRequests::Patched>& answer);
  void succeeded(const FlightPointer& flight, bool has_changed);
  void failed(const FlightPointer& flight, const Error& error);
  void note_failure(const FlightPointer& flight, const Error& error);
  void refused(const FlightPointer& flight, const Error& error);
  void list(const FlightPointer& flight);
  void get(const FlightPointer& flight);
  void got(const FlightPointer& flight, const Result<kube::ObjectMeta>& object);
  void decide_anew(const FlightPointer& flight, const std::optional<kube::ObjectMeta>& object);
  void count_unanswered(const FlightPointer& flight);
  void try_again(const FlightPointer& flight);
  void retry(const FlightPointer& flight, const BackoffPolicy& policy, int before = 0);
  void finish(const FlightPointer& flight);

  const std::shared_ptr<Tools> tools_;
  RingView& view_;
  const kube::ObjectReference ring_;  // of which Events tell
  const Logger log_;

  MoveQueue queue_;
  MoveLimit limit_;
  RecentMoves recent_;
  Timer timer_;
  std::optional<SteadyTime> timer_due_;
  std::minstd_rand random_{std::random_device{}()};

  MoveSummary summary_;
  MoveRequests requests_;  // the last member: no answer comes any more when the others go
};

}  // namespace sharder::rebalancer
