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
#include "rebalancer/complaints.h"
#include "rebalancer/flight.h"
#include "rebalancer/move_limit.h"
#include "rebalancer/move_queue.h"
#include "rebalancer/move_requests.h"
#include "rebalancer/move_summary.h"
#include "rebalancer/recent_moves.h"
#include "rebalancer/report.h"
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
//                   │            │ not reached, overloaded, a webhook that fails: a pause of up to 2 s; a lasting
//                   │            │ failure is reported, and pauses grow until a patch of the resource succeeds
//                   └── pause ◄──┤ rejected (too large, a validating webhook): growing pauses, one Event
//                                │ not there (any more): done
//                                └ not permitted: tried again each second; when that lasts, the moves of the resource
//                                  are dropped, and it is reported
//
// ResourcePatches gets the results of a resource's patches. Owned by the ring's worker, on the control loop. When it is
// destroyed, patches that wait in the client are not sent any more; patches under way end by themselves, and are
// counted.
class Mover {
 public:
  // `view` outlives it.
  Mover(std::shared_ptr<Tools> tools, RingView& view);

  // Notes the move that the object needs: pump() sends it. False: there is no room, show it again later.
  bool consider(const Source& source, const Sighting& seen);
  // Whether this is how the object was before it was moved lately.
  bool shows_past(const kube::ObjectMeta& object) const;
  // The object has gone, or cannot be an orphan any more: its move is dropped, if it waits.
  void retract(const Source& source, const kube::ObjectMeta& object);
  // Sends the moves that may be sent. Call it after each page, and after each batch of a watch's events.
  void pump();
  // A pass over all objects of the source has ended.
  void pass_ended(Source& source);
  // The namespace is not selected any more: its moves are dropped, if they wait.
  void forget_namespace(const std::string& name);
  // A watch begins anew with a list, which may show an older copy of the API server's data.
  void lists_anew();
  // The RingEntry has changed: moves that are not under way are decided anew.
  void ring_changed();

  // Whether so few moves wait that a page or a stream of the source's objects may come.
  bool has_room(const Source& source) const { return queue_.active(source.index()) <= kRoom; }
  // Whether so many orphans wait that a watch of them would show little else than our own moves.
  bool has_many_orphans(const Source& source) const { return queue_.waiting_orphans(source.index()) > kRoom; }
  // From time to time, for each source.
  void look(Source& source);

  std::size_t pending(const Source& source) const { return queue_.size(source.index()); }
  // Adds the moves that wait or are under way.
  void add_to(Flows& flows) const;

 private:
  static constexpr std::size_t kRoom = 1000;
  // So many moves of an object in a row are a quarrel with another tool.
  static constexpr int kQuarrel = 5;
  // After so many failures in a row, about 15 s, it is reported that an object cannot be moved.
  static constexpr int kLastingFailures = 10;

  void arm_timer(SteadyTime now);

  void send(const FlightPointer& flight);
  void patched(const FlightPointer& flight, const Result<MoveRequests::Patched>& answer);
  void succeeded(const FlightPointer& flight, bool has_changed);
  void failed(const FlightPointer& flight, const Error& error);
  void note_failure(const FlightPointer& flight, const Error& error);
  void rejected(const FlightPointer& flight, const Error& error);
  void list(const FlightPointer& flight);
  void get(const FlightPointer& flight);
  void got(const FlightPointer& flight, const Result<kube::ObjectMeta>& object);
  void decide_anew(const FlightPointer& flight, const std::optional<kube::ObjectMeta>& object);
  void count_unanswered(const FlightPointer& flight);
  void try_again(const FlightPointer& flight);
  void retry(const FlightPointer& flight, const BackoffPolicy& policy, int before = 0);
  // The object needs no move any more.
  void settle(const FlightPointer& flight);
  // The move ends. False: its object has to be looked at again.
  bool finish(const FlightPointer& flight);

  const std::shared_ptr<Tools> tools_;
  RingView& view_;
  const Logger log_;
  Complaints complaints_;

  MoveQueue queue_;
  MoveLimit limit_;
  RecentMoves recent_;
  Timer timer_;
  std::optional<SteadyTime> timer_due_;
  std::minstd_rand random_{std::random_device{}()};

  MoveSummary summary_;
  MoveRequests requests_;  // the last member: destroyed first, so that no answer finds the others gone
};

}  // namespace sharder::rebalancer
