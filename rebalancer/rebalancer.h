#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/executor.h"
#include "base/guarded.h"
#include "base/log.h"
#include "base/wait_group.h"
#include "kube/client/api.h"
#include "kube/client/discovery.h"
#include "kube/events/events.h"
#include "rebalancer/report.h"
#include "rebalancer/tools.h"
#include "ring/listener.h"
#include "ring/ring_set.h"
#include "ring/snapshot.h"

namespace prometheus {
class Registry;
}

namespace sharder::rebalancer {

// What the leader does for the objects (protocol, 6; design, 5): while it leads, each ring with a valid spec has a
// RingWorker, which moves every object to its shard. A ring whose spec changes gets a new worker. A ring that is
// deleted, or is being deleted, has none, and its objects keep their labels.
//
// The way of an object through this folder, each step a file and a function: docs/design.md, section 8, "A move".
//
// Lives on the control loop, which calls the listener's functions. Destroy it when that loop has stopped, or on it.
// Everything given to the constructor outlives it.
class Rebalancer final : public ring::Listener {
 public:
  // What membership/ publishes.
  struct Inputs {
    const Published<ring::RingSet>& ring_sets;
    const Published<ring::Snapshot>& snapshots;
  };

  // `events`: a recorder with the component "sharder"; `registry` (may be null) gets the metrics of Metrics, and
  // each pass over a resource as a reconciliation of the controller "sharder" (kube::ReconcileMetrics).
  // `leader_work`: holds a ticket for each write that is under way, and one for as long as this leads. When none is
  // left, nothing will be written any more.
  Rebalancer(Executor& control, kube::Api& api, kube::Discovery& discovery, kube::EventRecorder& events,
             const Clock& clock, Inputs inputs, Settings settings, ReportTrouble report_trouble,
             prometheus::Registry* registry, const Logger& log, WaitGroup& leader_work);
  ~Rebalancer() override;
  Rebalancer(const Rebalancer&) = delete;
  Rebalancer& operator=(const Rebalancer&) = delete;

  void on_ring_added(const std::string& ring) override;
  void on_ring_changed(const std::string& ring) override;
  void on_ring_removed(const std::string& ring) override;
  void on_shards_changed(const std::string& ring) override;
  void on_rebalance_requested(const std::string& ring) override;
  void on_leading(bool leading) override;

  // Empty while it does not lead. On the control loop; linear in the moves that wait, of which there is a limit.
  Report report() const;
  // The resources of one ring; nullopt while this replica does not work for it. On the control loop.
  std::optional<std::vector<ResourceReport>> report(const std::string& ring) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sharder::rebalancer
