#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/timer.h"
#include "rebalancer/mover.h"
#include "rebalancer/namespaces.h"
#include "rebalancer/passes.h"
#include "rebalancer/report.h"
#include "rebalancer/resource_worker.h"
#include "rebalancer/ring_view.h"
#include "rebalancer/tools.h"
#include "rebalancer/troubles.h"

namespace sharder::rebalancer {

// Sees to it that each object of one ring, with one spec, is on its shard (design, 5). Each of the ring's resources has
// a worker; this one has what they share: the members, the queue with its Mover, the schedule of the passes, and the
// timers.
//
//                          ┌─► orphan watch, per resource: objects without a live shard ─┐
//   shards change ─────────┤                                                            ├─► Mover ──► patches
//   namespace selected,    └─► passes over all objects ──────────────────────────────────┘
//   sync period, 10 s later ───────►
//
// Lives on the control loop; another spec gets another worker. Destroying it stops everything; patches under way end by
// themselves, each with its precondition.
class RingWorker {
 public:
  // So long after the last change of the members there is a further pass, for objects that a replica which lagged
  // behind gave to a wrong shard. While the members go on changing, it comes kSecondPassAtLatest after the first
  // change.
  static constexpr std::chrono::seconds kSecondPass{10};
  static constexpr std::chrono::seconds kSecondPassAtLatest{15};

  // `namespaces` outlives it.
  RingWorker(std::shared_ptr<Tools> tools, const Namespaces& namespaces, std::shared_ptr<const ring::RingEntry> entry);
  RingWorker(const RingWorker&) = delete;
  RingWorker& operator=(const RingWorker&) = delete;

  // Other members or available shards, the same spec.
  void shards_changed(std::shared_ptr<const ring::RingEntry> entry);
  // The first list of namespaces is complete.
  void namespaces_synced();
  // A namespace came (`before` is null) or has other labels.
  void namespace_changed(const std::string& name, const LabelMap* before, const LabelMap& labels);
  // The namespaces cannot be watched; nullopt: they can.
  void namespaces_trouble(const std::optional<Error>& error);
  // Looks at all objects, and tries again what was given up: every sync period, and when somebody asks for it.
  void sync();
  // An outage is over, or a time in which nothing was permitted: ends long pauses.
  void server_is_back();

  RingReport report() const;
  std::vector<ResourceReport> resources() const;

 private:
  void refresh();
  void pass_over_all();
  void second_pass_later();
  void second_pass();
  void passes_idle(std::size_t objects);
  void look();

  const std::shared_ptr<Tools> tools_;
  RingView view_;
  const Logger log_;
  Troubles troubles_;
  Mover mover_;
  Passes passes_;
  std::vector<std::unique_ptr<ResourceWorker>> resources_;
  bool needs_pass_ = false;  // because of what changed since the last refresh
  SteadyTime last_refresh_ = {};
  SteadyTime changing_since_ = {};  // the first change that the planned second pass is for
  Timer refresh_timer_;
  Timer second_pass_timer_;
  Timer sync_timer_;
  Timer look_timer_;
};

}  // namespace sharder::rebalancer
