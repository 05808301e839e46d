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
#include "rebalancer/unassigned_counter.h"

namespace sharder::rebalancer {

// The orphan watch of one resource of a ring (design, 5): shows the Mover the orphans, and the UnassignedCounter.
//
//   open() ───────────────────────► listing ──► watching        its first list was shown whole
//   listing, watching ────────────► cut                         it showed more than there is room for, or so many that
//                                                               it would show little else than how they are moved
//   cut ──────────────────────────► listing                     there is room again, or a pause is over
//   listing, watching ────────────► given up                    not permitted, or the resource has no watch: that lasts
//   given up ── try_again() ──────► listing
//   any but given up ── open() ───► closed                      open() of a ring that has no shard
//
// After any other failure it tries again by itself; a lasting one is reported. Each open() begins it anew, with the
// available shards that the ring has then. Owned by the resource's worker, on the control loop.
class OrphanWatch {
 public:
  struct Callbacks {
    // The watch has a lasting failure; nullopt: it works, or is given up.
    std::function<void(const std::optional<Error>&)> on_trouble;
    // It does not show all orphans: a pass has to find the others.
    std::function<void()> on_blind;
    // 404: perhaps the resource is served in another version.
    std::function<void()> on_not_found;
  };

  // All that is given to it outlives it.
  OrphanWatch(std::shared_ptr<Tools> tools, Source& source, RingView& view, Mover& mover, UnassignedCounter& counter,
              Callbacks callbacks);

  // The resource is known.
  void open();
  // Like open(), also after it was given up.
  void try_again();
  // There is room for what it shows: opens it anew where it was cut, at once or after a pause.
  void room_again();
  void room_later();
  // Call it from time to time: notices when the watch has been open for so long that it works.
  void look();
  // A label selector of all orphans; "" for a ring without members, where all objects are. nullopt: it is too long.
  std::optional<std::string> selector_of_all() const;

  bool is_given_up() const { return state_ == State::kGivenUp; }
  bool is_failing() const { return failure_.pending(); }
  // Whether a pass is needed when a shard leaves, because this watch does not show that shard's objects.
  bool needs_passes() const { return is_failing() || selector_ == Selector::kAbsent; }

 private:
  enum class State { kClosed, kListing, kWatching, kCut, kGivenUp };
  enum class Selector { kNotIn, kAbsent };  // the second when the first is too long for an URL

  // The only place where the state changes, except from listing to watching.
  void enter(State state);
  void start_watch();
  std::string selector() const;

  void came(const std::vector<ObjectEvent>& events);
  // False: the watch was cut.
  bool take(const ObjectEvent& event);
  bool listed();
  void cut();
  void connection(bool watching, const std::optional<Error>& error);
  void failed(const Error& error);
  void works();
  void give_up(const Error& error);

  const std::shared_ptr<Tools> tools_;
  Source& source_;
  RingView& view_;
  Mover& mover_;
  UnassignedCounter& counter_;
  const Callbacks callbacks_;
  const Logger log_;
  State state_ = State::kClosed;
  Selector selector_ = Selector::kNotIn;
  std::unique_ptr<ObjectWatch> watch_;    // while it lists and watches
  std::optional<SteadyTime> open_since_;  // since then it shows all; it may end at once, again and again
  kube::LastingFailure failure_;          // while it lasts, passes find what has to move
  bool giving_up_logged_ = false;
  Timer reopen_timer_;  // while it is cut
  // The pauses between watches that brought too much.
  Backoff cut_backoff_{{.initial = std::chrono::milliseconds(200), .max = std::chrono::seconds(10)}};
};

}  // namespace sharder::rebalancer
