#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/executor.h"
#include "base/guarded.h"
#include "base/log.h"
#include "base/wait_group.h"
#include "kube/client/api.h"
#include "ring/listener.h"
#include "ring/ring_set.h"
#include "ring/snapshot.h"

namespace prometheus {
class Registry;
}

namespace sharder::membership {

// Which rings there are and which shards are in them, in every replica; and, in the leader, the care of the shards'
// Leases (protocol, 3 and 9). The edge around Ledger: it watches ControllerRings and the Leases with the ring label,
// owns timers and probes, carries out what the Ledger decides, publishes its RingSets and Snapshots, and notifies the
// listeners. It runs on the control loop; what the watches show is decoded on the API loop and posted.
//
// Destroy it when the control loop has stopped, or on the control loop itself. Everything given to the constructor, and
// each listener, outlives it.
class Membership {
 public:
  // `registry` (may be null) gets controller_sharding_ring_calculations_total{controllerring} and
  // controller_sharding_shard_leases_deleted_total{controllerring}, and each write of a Lease as a reconciliation of
  // the controller "shardlease" (kube::ReconcileMetrics). `leader_work` has a ticket for as long as this leads, and one
  // for each action without an answer.
  Membership(Executor& control, kube::Api& api, const Clock& clock, prometheus::Registry* registry, Logger log,
             WaitGroup& leader_work);
  ~Membership();
  Membership(const Membership&) = delete;
  Membership& operator=(const Membership&) = delete;

  // Before start().
  void add_listener(ring::Listener& listener);
  // Begins to watch. Once.
  void start();

  // Begins or stops to act as the leader, soon. Any thread. Requests that are under way when it stops are not
  // cancelled; each write carries a precondition.
  void set_leading(bool leading);

  // Safe from any thread. Null until rings and Leases have synced.
  const Published<ring::RingSet>& ring_sets() const;
  const Published<ring::Snapshot>& snapshots() const;
  // Why rings and Leases have not synced: "waiting for shard Leases: forbidden". Everybody may read it, so it has fixed
  // words only; what the API server said is in the log. nullopt once they have synced, for ever. Any thread.
  std::optional<std::string> not_ready() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sharder::membership
