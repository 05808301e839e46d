#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "kube/codec/object_meta.h"
#include "rebalancer/census.h"
#include "rebalancer/counting_list.h"
#include "rebalancer/report.h"
#include "rebalancer/ring_view.h"
#include "rebalancer/source.h"
#include "rebalancer/tools.h"

namespace sharder::rebalancer {

// Counts the unassigned objects of one resource. Whether they are moved does not matter to it. It takes the best that
// there is:
//
//   1. The orphan watch, once its list is complete: each object that comes or goes. Exact up to Census::kKept objects.
//      When there are more and the count becomes vague, or a pass shows an object that the watch has not shown (its
//      namespace is new), the watch has to begin anew (wants_watch()).
//   2. While the watch is cut, or the ring has no member, lists of the same objects (CountingList), at least every
//      few seconds, with pauses of kPause times their duration.
//   3. Where these lists have a lasting failure, because nothing may be watched, or would need too long a selector, the
//      passes.
//
// Owned by the resource's worker, on the control loop.
class UnassignedCounter {
 public:
  // The pause after a list is so many times as long as the list took, and so is that before the watch begins anew.
  static constexpr int kPause = 10;
  // The watch may be away for so long before a list is worth its while.
  static constexpr std::chrono::seconds kPatience{2};

  // All that is given to it outlives it. `want_pass`: lists are given up, so that only a pass can count.
  UnassignedCounter(std::shared_ptr<Tools> tools, const Source& source, RingView& view,
                    std::function<void()> want_pass);

  // The orphan watch lists, from the beginning.
  void watch_lists();
  // It shows an object: in its list, or later.
  void watch_shows(const Sighting& seen);
  // An object has gone, or is no orphan any more.
  void watch_lost(const Sighting& last);
  // Its list is complete. `all`: it shows all that is unassigned.
  void watch_listed(bool all);
  // It is closed, cut, or about to begin anew.
  void watch_ends();
  // It should begin anew now, because it does not show all that is unassigned.
  bool wants_watch() const;

  // A pass over all objects begins and ends; it, or one over a namespace, shows an object.
  void pass_begins() { seen_in_pass_.emplace(); }
  void pass_shows(const Sighting& seen);
  void pass_ended();

  // The available shards are others now: so is what is unassigned.
  void shards_changed() { list_.stop(); }
  // The ring does not select some objects any more that it has selected.
  void deselected() { is_doubtful_ = true; }
  // The sync: tries lists again that were given up.
  void sync() { list_.try_again(); }
  // Call it every few seconds: counts by a list if that is due, and updates the metrics. `selector`: of all that is
  // unassigned; nullopt: there is none. The source's resource is known.
  void look(const std::optional<std::string>& selector);

  // nullopt: not counted yet.
  std::optional<Strays> unassigned() const;

 private:
  void add(Census& list, const Sighting& seen) const;
  void replace(Census census);
  void lists_given_up();

  const std::shared_ptr<Tools> tools_;
  const Source& source_;
  RingView& view_;
  const std::function<void()> want_pass_;
  Census census_;
  bool is_known_ = false;  // it was counted once
  // The watch:
  std::optional<Census> listed_by_watch_;
  SteadyTime list_began_ = {};
  bool shows_all_ = false;
  bool is_doubtful_ = false;  // it shows all, and yet there may be more or less
  SteadyTime watch_ended_ = {};
  SteadyTime no_watch_before_ = SteadyTime::min();
  // Lists and passes:
  std::optional<Census> seen_in_pass_;
  Census listed_;
  bool has_selector_ = true;
  bool passes_count_ = false;  // lists were given up, and since then neither they nor the watch have shown all
  CountingList list_;
};

}  // namespace sharder::rebalancer
