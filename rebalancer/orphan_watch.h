#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/backoff.h"
#include "base/timer.h"
#include "kube/client/lasting_failure.h"
#include "rebalancer/mover.h"
#include "rebalancer/object_watch.h"
#include "rebalancer/ring_view.h"
#include "rebalancer/source.h"
#include "rebalancer/tools.h"

namespace sharder::rebalancer {

// The orphan watch of one resource of a ring (design, 5): shows the Mover the objects that have no live shard.
//
//   open() ───────────────────────► listing ──► watching        its first list was shown whole
//   listing, watching ────────────► cut                         it showed more than there is room for, or so many that
//                                                               it would show little else than how they are moved
//   cut ──────────────────────────► listing                     there is room again, or a pause is over
//   listing, watching ────────────► refused                     not allowed, or there is none, and that lasts
//   refused ── try_again() ───────► listing
//   any but refused ── open() ────► closed                      while the ring has no shard
//
// What fails else it tries again by itself, and what lasts of that it tells. Each open() begins it anew, by the ring's
// members as they are then. Owned by the resource's worker, on the control loop.
class OrphanWatch {
 public:
  struct Callbacks {
    // The watch fails and fails; nullopt: it works, or is done without.
    std::function<void(const std::optional<Error>&)> on_trouble;
    // It does not show what it should: a pass has to find that.
    std::function<void()> on_blind;
    // 404: perhaps the resource is served in another version.
    std::function<void()> on_not_found;
  };

  // All that it is given outlives it.
  OrphanWatch(std::shared_ptr<Tools> tools, Source& source, const RingView& view, Mover& mover, Callbacks callbacks);

  // The resource is known.
  void open();
  // Also when it was refused.
  void try_again();
  // There is room for what it shows: opens it anew where it was cut, at once or after a pause.
  void room_again();
  void room_later();
  // From time to time: whether it has been open for long enough to say that it works.
  void look();

  bool is_refused() const { return state_ == State::kRefused; }
  bool is_failing() const { return failure_.pending(); }
  // Whether a shard that leaves needs a pass: this does not show what it leaves behind.
  bool needs_passes() const { return is_failing() || selector_ == Selector::kAbsent; }

 private:
  enum class State { kClosed, kListing, kWatching, kCut, kRefused };
  enum class Selector { kNotIn, kAbsent };  // the second when the first is too long for an URL

  // The only place where the state changes, but for listing to watching.
  void enter(State state);
  void start_watch();
  std::string selector() const;

  void came(const std::vector<ObjectEvent>& events);
  // False: it is cut.
  bool take(const ObjectEvent& event);
  bool listed();
  void cut();
  void connection(bool watching, const std::optional<Error>& error);
  void failed(const Error& error);
  void works();
  void refused(const Error& error);

  const std::shared_ptr<Tools> tools_;
  Source& source_;
  const RingView& view_;
  Mover& mover_;
  const Callbacks callbacks_;
  const Logger log_;
  State state_ = State::kClosed;
  Selector selector_ = Selector::kNotIn;
  std::unique_ptr<ObjectWatch> watch_;    // while it lists and watches
  std::optional<SteadyTime> open_since_;  // what it shows is current; it may end at once, again and again
  kube::LastingFailure failure_;          // meanwhile passes find what has to move
  bool refusal_told_ = false;
  Timer reopen_timer_;  // while it is cut
  // Between watches that brought too much.
  Backoff cut_backoff_{{.initial = std::chrono::milliseconds(200), .max = std::chrono::seconds(10)}};
};

}  // namespace sharder::rebalancer
