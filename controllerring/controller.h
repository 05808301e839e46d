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
#include "controllerring/controller_options.h"
#include "kube/client/api.h"
#include "kube/client/discovery.h"
#include "kube/events/events.h"
#include "ring/listener.h"
#include "ring/snapshot.h"

namespace sharder::controllerring {

// The leader's care of the ControllerRings themselves (protocol, 2, 5 and 9): each ring's webhook configuration is
// applied and its status says how that went, on creation, when its spec or its shards change, when the leadership
// begins, and every sync period. While it leads it also watches the webhook configurations, where it may, and repairs
// what somebody changed (Repairs); where it may not (403), the sync does.
//
// Per ring one reconciliation at a time:
//
//   wanted ──► apply (409: see below) ──► resources exist? ──► read the ring ──► PUT /status if it changes ──► sync
//   later
//     ▲                │ failed                 │ no                                                              │
//     └── backoff ◄────┴────────────────────────┴──► Ready False, Event: all the rest is done                     │
//     └───────────────────────────────────────────────────────────────────────────────────────────────────────────┘
//
// An apply that conflicts is sent once more with force, with an Event that names the other manager; but the caBundle
// is never forced: it is left out then, and the conflict reported; and a namespaceSelector that is narrowed again and
// again is left so (decision 6). What fails for one ring does not touch the others.
// When the leadership ends, the queue is dropped; requests in flight end by themselves.
//
// Lives on the control loop, which calls the listener's functions. Destroy it when that loop has stopped, or on it.
// Everything given to the constructor outlives it.
class Controller final : public ring::Listener {
 public:
  // `snapshots`: what membership/ publishes; `events`: a recorder with the component kFieldManager; `leader_work`:
  // whoever waits for it waits until this neither leads nor has a request without an answer.
  Controller(Executor& control, kube::Api& api, kube::Discovery& discovery, kube::EventRecorder& events,
             const Clock& clock, const Published<ring::Snapshot>& snapshots, ControllerOptions options,
             const Logger& log, WaitGroup& leader_work);
  ~Controller() override;
  Controller(const Controller&) = delete;
  Controller& operator=(const Controller&) = delete;

  void on_ring_added(const std::string& ring) override;
  void on_ring_changed(const std::string& ring) override;
  void on_ring_removed(const std::string& ring) override;
  void on_shards_changed(const std::string& ring) override;
  void on_leading(bool leading) override;

  // What others fail to do for the ring: its Ready condition says so, and an Event.
  void on_trouble(const std::string& ring, const std::string& what, const std::optional<Error>& trouble) override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sharder::controllerring
