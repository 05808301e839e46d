#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/error.h"
#include "base/executor.h"
#include "base/log.h"
#include "base/wait_group.h"
#include "controllerring/controller_options.h"
#include "controllerring/webhook_configuration.h"
#include "kube/client/api.h"
#include "kube/client/discovery.h"
#include "kube/events/events.h"
#include "ring/snapshot.h"

namespace sharder::controllerring {

// What reconciliations work with, the same for all. Shared, because the last answer may come when all else is gone;
// what it refers to outlives every answer.
struct Tools {
  Executor& control;
  kube::Api& api;
  kube::Discovery& discovery;
  kube::EventRecorder& events;
  const Clock& clock;
  const ControllerOptions options;
  const Logger log;
  WaitGroup& leader_work;
};

// What is done about somebody who has narrowed the namespaceSelector of a webhook configuration (decision 6).
enum class Narrowing { kTakeBack, kLeave };

// What is done about fields that somebody else has set otherwise: when he insists, they are taken back now and then.
enum class Conflicts { kTakeBack, kLeave };

// One reconciliation of one ring: applies its webhook configuration, looks its resources up, writes its status (see
// Controller). None of them keeps the next from being done. Lives on the control loop, where each answer is posted to;
// keeps itself alive until the last one.
class Reconciliation : public std::enable_shared_from_this<Reconciliation> {
 public:
  // What came of fields that somebody else had set.
  enum class Contest { kNone, kTakenBack, kNarrowed, kPostponed };
  struct Report {
    std::optional<Error> error;  // nullopt: all was done; else the first, with the messages of all
    std::string told;            // in the ring's status: the error, and what others report; "": all is well
    Contest contest = Contest::kNone;
    std::string managers;  // with whom, for a message
  };
  using Done = std::move_only_function<void(const Report&)>;

  // `trouble`: what others report of the ring, "" when they report nothing.
  Reconciliation(std::shared_ptr<Tools> tools, std::shared_ptr<const ring::RingStatus> ring, std::string trouble,
                 Narrowing narrowing, Conflicts conflicts, Done done);

  // `done` runs once, later, unless this is dropped before.
  void start();
  // Nothing more is sent: the leadership ended, or the ring went. A write under way is harmless, whoever leads: it is
  // guarded by a resourceVersion, or applies what the next leader applies too.
  void drop() { dropped_ = true; }

  const ring::ControllerRing& spec() const { return ring_->spec; }
  // For Events of the ring.
  kube::ObjectReference reference() const {
    return kube::reference_to(kube::kControllerRings, spec().name, spec().uid);
  }

 private:
  using Step = void (Reconciliation::*)(Result<kube::Response>);

  void apply();
  void applied(Result<kube::Response> answer);
  void apply_failed(Error error);
  void configuration_read(Result<kube::Response> answer);
  void resolve_resources();
  void resolved(std::size_t place, std::optional<Error> error);
  void read_ring();
  void write_status(Result<kube::Response> ring);
  void status_written(Result<kube::Response> answer);
  void finish();

  void note(Error error);
  std::string told() const;
  void send(kube::Request request, Step then);
  // Runs f(*this) on the control loop unless this was dropped meanwhile. Any thread.
  template <class F>
  void post(F f);

  const std::shared_ptr<Tools> tools_;
  const std::shared_ptr<const ring::RingStatus> ring_;
  const std::string trouble_;
  Narrowing narrowing_;
  const Conflicts conflicts_;
  Done done_;
  bool dropped_ = false;

  std::size_t unresolved_ = 0;
  std::map<std::size_t, Error> missing_;  // by place in the spec
  CaBundle ca_bundle_ = CaBundle::kAsConfigured;
  std::optional<std::string> live_;  // the configuration as it stood in the cluster, where that counts
  bool force_ = false;
  int status_conflicts_ = 0;
  Report report_;
};

}  // namespace sharder::controllerring
