#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/executor.h"
#include "base/guarded.h"
#include "base/log.h"
#include "controllerring/settings.h"
#include "kube/api.h"
#include "kube/discovery.h"
#include "kube/events.h"
#include "ring/snapshot.h"

namespace sharder::controllerring {

// What a reconciliation works with; the same for all, which share it: the last answer may come when all else is gone.
// The references outlive every answer.
struct Tools {
  Executor& control;
  kube::Api& api;
  kube::Discovery& discovery;
  kube::EventRecorder& events;
  const Clock& clock;
  const Published<ring::Snapshot>& snapshots;
  const Settings settings;
  Logger log;
  std::atomic<std::size_t> requests_in_flight = 0;
};

// One reconciliation of one ring, step by step; each step's answer is posted to the control loop. It keeps itself alive
// until its last answer has come.
class Reconciliation : public std::enable_shared_from_this<Reconciliation> {
 public:
  // nullopt: the ring is as it should be.
  using Done = std::move_only_function<void(std::optional<Error>)>;

  // Of the ring as the newest Snapshot has it. `done` runs on the control loop, once, unless it was dropped. On the
  // control loop.
  static std::shared_ptr<Reconciliation> start(std::shared_ptr<Tools> tools,
                                               std::shared_ptr<const ring::RingStatus> ring, Done done);

  Reconciliation(std::shared_ptr<Tools> tools, std::shared_ptr<const ring::RingStatus> ring, Done done);

  // Nothing more is sent and `done` does not run: leading ended, or the ring went. Each write that is under way is
  // harmless, whoever leads: it is guarded by a resourceVersion, or an apply of what the next leader applies too.
  void drop() { dropped_ = true; }

 private:
  void discover_next();
  void apply(bool force);
  void on_apply_failed(Error error, bool forced);
  void read_ring();
  void write_status(const std::string& object);
  void finish();
  void fail_with(Error error);
  void warn_by_event(std::string_view reason, std::string_view message) const;

  // Sends a request; `then` runs on the control loop unless this was dropped meanwhile.
  void send(kube::Request request, std::function<void(Result<kube::Response>)> then);
  const ring::ControllerRing& spec() const { return ring_->spec; }

  const std::shared_ptr<Tools> tools_;
  const std::shared_ptr<const ring::RingStatus> ring_;
  Done done_;
  std::vector<ring::GroupResource> resources_;  // that are still to be looked up, the next one last
  std::optional<Error> error_;
  bool dropped_ = false;
};

}  // namespace sharder::controllerring
