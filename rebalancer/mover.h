#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "base/backoff.h"
#include "base/lifetime.h"
#include "base/timer.h"
#include "kube/client/lasting_failure.h"
#include "rebalancer/move_limit.h"
#include "rebalancer/move_queue.h"
#include "rebalancer/recent_moves.h"
#include "rebalancer/ring_view.h"
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
//                                  moves are dropped and the worker is told
//
// Owned by the ring's worker, on the control loop. When it is destroyed, what waits in the client is not sent any more;
// patches under way end by themselves, and are counted.
class Mover {
 public:
  struct Callbacks {
    std::function<void(std::uint32_t source)> on_room;  // has_room() is true again
    // Objects of this source cannot be patched: none, where that is forbidden, which is told again while it lasts, or
    // some; nullopt: now they can.
    std::function<void(std::uint32_t source, const std::optional<Error>&)> on_trouble;
  };

  // `view` outlives it; `metrics` by source; `ring`: of which ring Events tell.
  Mover(std::shared_ptr<Tools> tools, RingView& view, std::vector<std::shared_ptr<ResourceMetrics>> metrics,
        kube::ObjectReference ring, Callbacks callbacks);
  ~Mover();
  Mover(const Mover&) = delete;
  Mover& operator=(const Mover&) = delete;

  // Decides what the object needs, and notes it. False: there is no room, show it again later.
  bool consider(std::uint32_t source, const kube::ObjectMeta& object);
  // The object has gone, or cannot be an orphan any more: what waits for it is dropped.
  void retract(std::uint32_t source, const kube::ObjectMeta& object);
  // A pass over all objects of the source begins, and has ended.
  void pass_begins(std::uint32_t source) { states_[source].refused_in_pass = false; }
  void pass_ended(std::uint32_t source);
  // How many moves of the source were carried out so far.
  std::uint64_t carried_out(std::uint32_t source) const { return states_[source].carried_out; }
  // The namespace is not selected any more: what waits of it is dropped.
  void forget_namespace(const std::string& name);
  // A watch begins anew with a list: an older copy of the API server's data perhaps.
  void lists_anew();
  // The RingEntry is another one: what was decided by the old one and is not under way is decided anew.
  void ring_changed();

  // Few enough moves wait that a page or a stream of the source's objects may come.
  bool has_room(std::uint32_t source) const { return queue_.active(source) <= kRoom; }
  // So many orphans wait that a watch of them would show little else than how we move them.
  bool has_many_orphans(std::uint32_t source) const { return queue_.waiting_orphans(source) > kRoom; }
  // From time to time.
  void update_metrics();

 private:
  static constexpr std::size_t kRoom = 1000;
  // Moves in a row that are a quarrel with another tool.
  static constexpr int kQuarrel = 5;
  // A source that is slow has this part of the places, and at least one.
  static constexpr std::size_t kSlowShare = 8;
  // Failures in a row, about 15 s, after which it is told that an object cannot be moved.
  static constexpr int kLastingFailures = 10;
  // Where no object has failed so often for so long, all is well again; so long pauses are not ended a second time.
  static constexpr std::chrono::minutes kQuiet{3};

  struct Flight;
  enum class Outcome { kDone, kChanged, kAgain, kForbidden, kRefused };

  static Outcome outcome(const Error& error);
  std::string describe(const ObjectId& id) const;

  void pump();
  bool may_send(std::uint32_t source, SteadyTime now) const;
  void tell_of_room();
  void arm_timer(SteadyTime now);
  using FlightPointer = std::shared_ptr<Flight>;
  void send(const FlightPointer& flight);
  void answered(const FlightPointer& flight, const Result<kube::Response>& answer);
  void succeeded(const FlightPointer& flight, const std::string& body);
  void count(const Flight& flight, MoveKind kind);
  void count_unanswered(const FlightPointer& flight);
  void failed(const FlightPointer& flight, const Error& error);
  void granted(std::uint32_t source);
  void forbidden(const FlightPointer& flight, const Error& error);
  void tell_failure(const FlightPointer& flight, const Error& error);
  void works_again(std::uint32_t source, SteadyTime now);
  void look_whether_over(std::uint32_t source);
  void refused(const FlightPointer& flight, const Error& error);
  void read_again(const FlightPointer& flight);
  void get(const FlightPointer& flight);
  void ask(const FlightPointer& flight, kube::Request request,
           void (Mover::*then)(const FlightPointer&, Result<kube::Response>));
  void listed(const FlightPointer& flight, Result<kube::Response> answer);
  void got(const FlightPointer& flight, Result<kube::Response> answer);
  void decide_anew(const FlightPointer& flight, const std::optional<kube::ObjectMeta>& object);
  void try_again(const FlightPointer& flight);
  void retry(const FlightPointer& flight, const BackoffPolicy& policy, int before = 0);
  void finish(const FlightPointer& flight);
  void summarise();

  const std::shared_ptr<Tools> tools_;
  RingView& view_;
  const std::vector<std::shared_ptr<ResourceMetrics>> metrics_;
  const kube::ObjectReference ring_;
  const Callbacks callbacks_;
  const Logger log_;

  MoveQueue queue_;
  MoveLimit limit_;
  RecentMoves recent_;
  // Also read where requests go out: what an older ring decided, and what waits when this ends, is not sent.
  const std::shared_ptr<std::atomic<std::uint64_t>> ring_version_ = std::make_shared<std::atomic<std::uint64_t>>(0);
  // By source:
  struct State {
    kube::LastingFailure refusal;  // patches that are not permitted
    bool refused_in_pass = false;  // since its beginning
    SteadyTime paused_until = SteadyTime::min();
    bool is_slow = false;               // the last answer was a failure of the object's own, or did not come in time
    std::optional<SteadyTime> failing;  // it was told that objects fail and fail: the last time that one did
    SteadyTime hastened = SteadyTime::min();
    bool room_told = true;
    std::uint64_t carried_out = 0;
  };
  std::vector<State> states_;
  Timer timer_;
  std::optional<SteadyTime> timer_due_;
  std::minstd_rand random_{std::random_device{}()};
  kube::ObjectMetaDecoder decoder_;

  // Since the queue was empty, for one line in the log.
  struct Sum {
    SteadyTime since = {};
    std::size_t reassigned = 0;
    std::size_t drains = 0;
    std::size_t failures = 0;
  };
  Sum sum_;
  Lifetime lifetime_;
};

}  // namespace sharder::rebalancer
