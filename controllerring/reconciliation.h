#pragma once

#include <atomic>
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
#include "controllerring/status.h"
#include "controllerring/webhook_configuration.h"
#include "kube/client/api.h"
#include "kube/client/discovery.h"
#include "kube/client/reconcile_metrics.h"
#include "kube/events/events.h"
#include "ring/snapshot.h"

namespace sharder::controllerring {

// The tools of all reconciliations. Shared, because the last answer may come when everything else is destroyed; what
// they refer to outlives every answer.
struct Tools {
  Executor& control;
  kube::Api& api;
  kube::Discovery& discovery;
  kube::EventRecorder& events;
  const Clock& clock;
  ControllerOptions options;  // set_ca_bundle() changes the caBundle
  kube::ReconcileMetrics reconciliations;
  const Logger log;
  WaitGroup& leader_work;
  bool has_ca_bundle = false;  // Controller::set_ca_bundle() was called

  bool waits_for_ca_bundle() const { return options.webhook.ca_bundle_is_ours && !has_ca_bundle; }
};

// Gives a webhook configuration to a client that may patch and not read it, as with the Go project's ClusterRole: a
// patch of nothing, which is not carried out either.
kube::Request read_by_patch(const std::string& configuration);

// What to do with a webhook's namespaceSelector that another manager has narrowed (decision 6).
enum class Narrowing { kTakeBack, kLeave };

// What to do with fields to which another manager has given other values. If it does so again and again, they are
// taken back only now and then.
enum class Conflicts { kTakeBack, kLeave };

// What to do with the caBundle in the cluster when none is configured. One that we own, from an earlier mode of the
// certificate, stays until somebody else has changed or claimed it (decision 6), but not with a url for which nobody
// injects one.
enum class LiveCaBundle { kKeepOurs, kNotOurs };

// One reconciliation of one ring: applies its webhook configuration, looks its resources up, writes its status (see
// Controller). When one step fails, the next is taken all the same. Lives on the control loop, to which each answer is
// posted; keeps itself alive until the last answer.
class Reconciliation : public std::enable_shared_from_this<Reconciliation> {
 public:
  // What was done with fields that another manager had set.
  enum class Contest { kNone, kTakenBack, kNarrowed, kPostponed };
  struct Report {
    std::optional<Error> error;  // nullopt: success; else the first one, with the messages of all
    std::string message;         // for the ring's status: the error, and what others report; "": success
    Contest contest = Contest::kNone;
    std::string managers;            // that had set the fields; for a message
    bool ca_bundle_is_left = false;  // none is configured, and what stands in the cluster is not ours
    std::string configuration;       // as it stands in the cluster after the apply, JSON; "": not applied
  };
  using Done = std::move_only_function<void(const Report&)>;

  // What its status is to say, besides the reconciliation's own result.
  struct Known {
    std::string trouble;                           // the lasting failures that others report of the ring; "": none
    std::map<std::string_view, Condition> others;  // Outcome::others
  };
  Reconciliation(std::shared_ptr<Tools> tools, std::shared_ptr<const ring::RingStatus> ring, Known known,
                 Narrowing narrowing, Conflicts conflicts, LiveCaBundle live_ca_bundle, Done done);

  // `done` runs once, later, unless this is dropped before.
  void start();
  // Sends nothing more, also what waits in the client: the leadership ended, or the ring has gone. A write under way
  // does no harm, whoever leads: it carries a precondition, or the next leader applies its own after it.
  void drop() { dropped_ = true; }

  const ring::ControllerRing& spec() const { return ring_->spec; }
  // For Events of the ring.
  kube::ObjectReference reference() const {
    return kube::reference_to(kube::kControllerRings, spec().name, spec().uid);
  }

 private:
  using Step = void (Reconciliation::*)(Result<kube::Response>);

  bool looks_at_ca_bundle() const;
  void read_ca_bundle();
  void ca_bundle_read(Result<kube::Response> answer);
  void apply();
  void applied(Result<kube::Response> answer);
  void apply_failed(Error error);
  void selector_read(Result<kube::Response> answer);
  void configuration_failed(const std::string& what, Error error);
  void resolve_resources();
  void resolved(std::size_t place, std::optional<Error> error);
  void read_ring();
  void write_status(Result<kube::Response> ring);
  void status_written(Result<kube::Response> answer);
  void finish();

  void note(Error error);
  std::string message() const;
  void send(kube::Request request, Step then);
  // Runs f(*this) on the control loop unless this was dropped meanwhile. Any thread.
  template <class F>
  void post(F f);

  const std::shared_ptr<Tools> tools_;
  const WebhookSettings webhook_;  // as they were when this began
  const std::shared_ptr<const ring::RingStatus> ring_;
  const Known known_;
  Narrowing narrowing_;
  const Conflicts conflicts_;
  const LiveCaBundle live_ca_bundle_;
  Done done_;
  std::atomic<bool> dropped_ = false;  // read on the API loop, before a request is sent

  std::size_t unresolved_ = 0;
  std::map<std::size_t, Error> missing_;  // by place in the spec
  CaBundle ca_bundle_ = CaBundle::kAsConfigured;
  std::optional<std::string> live_;  // the configuration in the cluster, if it was read
  bool reads_by_patch_ = false;
  bool keeps_ca_bundle_ = false;
  bool keeps_selector_ = false;
  bool force_ = false;
  int changes_meanwhile_ = 0;
  int status_conflicts_ = 0;
  Report report_;
};

}  // namespace sharder::controllerring
