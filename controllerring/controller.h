#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/error.h"
#include "base/executor.h"
#include "base/guarded.h"
#include "base/log.h"
#include "base/wait_group.h"
#include "controllerring/assignment.h"
#include "controllerring/controller_options.h"
#include "controllerring/reachability.h"
#include "kube/client/api.h"
#include "kube/client/discovery.h"
#include "kube/events/events.h"
#include "ring/listener.h"
#include "ring/snapshot.h"

namespace prometheus {
class Registry;
}

namespace sharder::controllerring {

// What the leader does for the ControllerRings themselves (protocol, 2, 5 and 9): it applies each ring's webhook
// configuration and reports the result in the ring's status. It does so on creation, when the spec or the shards
// change, when the leadership begins, and every sync period. While it leads it also watches the webhook configurations,
// and repairs what somebody changed (Repairs); where that watch is not permitted, the sync repairs it.
//
// Per ring one reconciliation at a time:
//
//   wanted ──► apply (409: below) ──► resources exist? ──► read the ring ──► PUT /status if it changes ──► sync later
//     ▲                │ failed             │ no                                                             │
//     └── backoff ◄────┴────────────────────┴──► Ready False, Event: all the rest is done                    │
//     └──────────────────────────────────────────────────────────────────────────────────────────────────────┘
//
// An apply that conflicts is sent once more with force, and an Event names the other manager, once for each set of
// managers. While a manager insists, the pauses of Repairs come first (controllerring/repairs.h). The caBundle is never
// forced: it is left out then, and the conflict is reported. A namespaceSelector that another manager narrows again and
// again is left as it is (decision 6). Without a configured caBundle, one that an earlier mode of the certificate has
// applied is applied further, until somebody else has changed or claimed it; with a url that nobody injects one for, it
// is removed. A failure of one ring does not affect the others. When the leadership ends, the queue is dropped;
// requests in flight end by themselves.
//
// Lives on the control loop, which calls the listener's functions. Destroy it when that loop has stopped, or on it.
// Everything given to the constructor outlives it.
class Controller final : public ring::Listener {
 public:
  // `snapshots`: what membership/ publishes; `events`: a recorder with the component kFieldManager; `registry` (may be
  // null) gets the reconciliations of the controller "controllerring" (kube::ReconcileMetrics); `leader_work`: has a
  // ticket for as long as this leads, and one for each request without an answer.
  Controller(Executor& control, kube::Api& api, kube::Discovery& discovery, kube::EventRecorder& events,
             const Clock& clock, const Published<ring::Snapshot>& snapshots, ControllerOptions options,
             prometheus::Registry* registry, const Logger& log, WaitGroup& leader_work);
  ~Controller() override;
  Controller(const Controller&) = delete;
  Controller& operator=(const Controller&) = delete;

  void on_ring_added(const std::string& ring) override;
  void on_ring_changed(const std::string& ring) override;
  void on_ring_removed(const std::string& ring) override;
  void on_shards_changed(const std::string& ring) override;
  void on_leading(bool leading) override;

  // WebhookSettings::ca_bundle_is_ours: the roots (PEM) that the webhook configurations are to trust from now on; ""
  // leaves the caBundle to others, and the last one of ours stays until they have changed it (decision 6; with a url
  // only if the annotations ask for an injector). On the control loop.
  void set_ca_bundle(const std::string& pem);
  // From now on the condition WebhookReachable is reported (ReachabilityReporter). Before it leads.
  void report_reachability(TrustCheck check);
  // Likewise the condition AllAssigned (AssignmentReporter).
  void report_assignment(AssignmentCheck check);

  // A lasting failure of another component for the ring: reported in the Ready condition, and recorded as an Event.
  void on_trouble(const std::string& ring, const std::string& what, const std::optional<Error>& trouble) override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sharder::controllerring
