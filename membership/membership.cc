#include "membership/membership.h"

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/registry.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <iterator>
#include <map>
#include <random>
#include <utility>
#include <vector>

#include "base/lifetime.h"
#include "base/poster.h"
#include "base/timer.h"
#include "kube/client/lasting_failure.h"
#include "kube/client/reconcile_metrics.h"
#include "kube/client/resource.h"
#include "kube/events/events.h"
#include "kube/watch/list_watch.h"
#include "membership/lease_requests.h"
#include "membership/ledger.h"
#include "membership/ring_object.h"
#include "ring/names.h"

namespace sharder::membership {

namespace {

constexpr std::string_view kEventComponent = kTakeOverIdentity;
// All that a replica knows comes from these two watches, and during an outage a gateway may answer with errors. So
// their pauses never grow further.
constexpr std::chrono::seconds kLongestPause{2};

}  // namespace

// Belongs to the control loop, except what is marked otherwise.
struct Membership::Impl {
  Impl(Executor& control_loop, kube::Api& kube_api, const Clock& system_clock, prometheus::Registry* registry,
       const Logger& logger, WaitGroup& work)
      : control(control_loop),
        api(kube_api),
        clock(system_clock),
        log(logger.named("membership")),
        events(kube_api, system_clock, std::string(kEventComponent), logger),
        reconciliations(registry, "shardlease"),
        leader_work(work),
        ledger(std::random_device{}()) {
    if (registry != nullptr) {
      calculations = &prometheus::BuildCounter()
                          .Name("controller_sharding_ring_calculations_total")
                          .Help("Total number of times that a ring's tokens were computed.")
                          .Register(*registry);
      deletions = &prometheus::BuildCounter()
                       .Name("controller_sharding_shard_leases_deleted_total")
                       .Help("Total number of shard Leases that were deleted while their shards held them.")
                       .Register(*registry);
    }
  }

  // Decodes what a watch shows, on the API loop, and posts it to the control loop.
  class Sink;
  // Of a ring; null without a registry.
  struct Counters {
    prometheus::Counter* calculations = nullptr;
    prometheus::Counter* deletions = nullptr;
  };
  // How a watch is doing, for readiness and for the rings' conditions. ListWatch itself logs what goes wrong.
  struct WatchHealth {
    std::string_view what;
    std::optional<ErrorCode> failure = {};  // the last one, until it is open again
    kube::LastingFailure lasting = {};
    std::optional<Error> trouble = {};  // while it has a lasting failure
  };

  Now now() const { return {.wall = clock.wall(), .steady = clock.steady()}; }

  void start();

  void ring_event(kube::WatchEventType type, ring::RingObject object);
  void lease_event(kube::WatchEventType type, ShardLease lease);
  void connection(WatchHealth& health, bool watching, const std::optional<Error>& error);
  void lease_connection(bool watching);
  void lead(bool now_leading, WaitGroup::Ticket ticket);

  // Calls flush() behind the tasks that wait now, so that many events make one RingSet.
  void request_flush();
  void flush();
  void arm_timer();
  void count(const LedgerOutput& output);
  void log_members(const LedgerOutput& output, const ring::RingSet* before) const;
  void log_marks(const LedgerOutput& output, const ring::Snapshot* before) const;
  void notify(const Change& change) const;
  void notify(const LeaseTrouble& trouble) const;
  // Of the lasting failure of a watch, if there is one: all rings, or this one. `is_over`: so far as they are
  // concerned.
  void notify_troubles(const WatchHealth& health, bool is_over) const;
  void notify_trouble(const std::string& ring, const WatchHealth& health, bool is_over) const;
  void update_readiness();

  void perform(Action action);
  // `began`: when it was sent.
  void finished(const Action& action, SteadyTime began, Result<ActionAnswer> answer);
  void record_invalid_name(const Action& action);

  void probe_after_pause();
  void probe();
  void probed(Result<kube::Response> response);

  // Constant, or with their own synchronisation:
  Executor& control;
  kube::Api& api;
  const Clock& clock;
  const Logger log;
  kube::EventRecorder events;
  prometheus::Family<prometheus::Counter>* calculations = nullptr;
  prometheus::Family<prometheus::Counter>* deletions = nullptr;
  kube::ReconcileMetrics reconciliations;
  std::vector<ring::Listener*> listeners;  // constant from start() on
  Published<ring::RingSet> ring_sets;
  Published<ring::Snapshot> snapshots;
  Guarded<std::optional<std::string>> not_ready{std::string("not started")};
  WaitGroup& leader_work;
  std::shared_ptr<kube::ListWatch> ring_watch;
  std::shared_ptr<kube::ListWatch> lease_watch;

  // The control loop's:
  Ledger ledger;
  bool leading = false;
  WaitGroup::Ticket term;  // while it leads
  WatchHealth rings{.what = "ControllerRings"};
  WatchHealth leases{.what = "shard Leases"};
  bool no_definition_logged = false;  // that the CRD is missing
  std::map<std::string, Counters> counters;
  bool flush_posted = false;
  Timer timer{control};
  std::optional<SteadyTime> timer_due;
  Timer probe_timer{control};
  Lifetime lifetime;
  // Any thread.
  const Poster<Impl> post{*this, lifetime, control};
};

class Membership::Impl::Sink final : public kube::WatchSink {
 public:
  enum class Of { kRings, kLeases };
  Sink(const Impl& impl, Of of) : post_(impl.post), log_(impl.log), of_(of) {}

  void on_event(const kube::WatchEvent& event) override {
    if (of_ == Of::kRings) {
      deliver<ring::RingObject>(event, decode_ring, &Impl::ring_event);
    } else {
      deliver<ShardLease>(event, decode_shard_lease, &Impl::lease_event);
    }
  }

  void on_connection(bool watching, const std::optional<Error>& error) override {
    post_([of = of_, watching, error](Impl& impl) {
      impl.connection(of == Of::kRings ? impl.rings : impl.leases, watching, error);
      if (of == Of::kLeases) {
        impl.lease_connection(watching);
      }
    });
  }

 private:
  template <class T>
  void deliver(const kube::WatchEvent& event, Result<T> (*decode)(std::string_view),
               void (Impl::*handle)(kube::WatchEventType, T)) {
    T object;
    if (event.type != kube::WatchEventType::kInit && event.type != kube::WatchEventType::kInitDone) {
      auto decoded = decode(event.object);
      if (!decoded) {
        log_.warn("ignoring an object that cannot be decoded", {{"error", decoded.error().message}});
        return;
      }
      object = std::move(*decoded);
    }
    post_([type = event.type, object = std::move(object), handle](Impl& impl) mutable {
      (impl.*handle)(type, std::move(object));
    });
  }

  const Poster<Impl> post_;
  const Logger log_;
  const Of of_;
};

void Membership::Impl::start() {
  not_ready.with([](auto& reason) { reason = "waiting for ControllerRings"; });
  ring_watch =
      kube::ListWatch::start(api, clock, {.resource = kube::kControllerRings, .max_error_backoff = kLongestPause},
                             std::make_shared<Sink>(*this, Sink::Of::kRings), log);
  lease_watch = kube::ListWatch::start(
      api, clock,
      {.resource = kube::kLeases, .label_selector = std::string(ring::kRingLabel), .max_error_backoff = kLongestPause},
      std::make_shared<Sink>(*this, Sink::Of::kLeases), log);
  post([](Impl& self) { self.probe_after_pause(); });
}

void Membership::Impl::ring_event(kube::WatchEventType type, ring::RingObject object) {
  switch (type) {
    case kube::WatchEventType::kInit:
      ledger.list_rings();
      break;
    case kube::WatchEventType::kInitApply:
    case kube::WatchEventType::kApply:
      ledger.ring_shown(std::move(object));
      break;
    case kube::WatchEventType::kInitDone:
      ledger.rings_listed();
      break;
    case kube::WatchEventType::kDelete:
      ledger.ring_gone(object.spec.name);
      break;
  }
  request_flush();
}

void Membership::Impl::lease_event(kube::WatchEventType type, ShardLease lease) {
  switch (type) {
    case kube::WatchEventType::kInit:
      ledger.list_leases();
      break;
    case kube::WatchEventType::kInitApply:
    case kube::WatchEventType::kApply:
      ledger.lease_shown(std::move(lease), now());
      break;
    case kube::WatchEventType::kInitDone:
      ledger.leases_listed();
      break;
    case kube::WatchEventType::kDelete:
      ledger.lease_gone(lease.id);
      break;
  }
  request_flush();
}

void Membership::Impl::connection(WatchHealth& health, bool watching, const std::optional<Error>& error) {
  const SteadyTime at = clock.steady();
  if (watching) {
    health.failure.reset();
    if (health.lasting.succeeded(at)) {
      notify_troubles(health, true);
      health.trouble.reset();
    }
  } else if (error && error->code != ErrorCode::kCancelled) {
    health.failure = error->code;
    if (health.lasting.failed(*error, at)) {
      health.trouble = error;
      notify_troubles(health, false);
    }
  }
  const bool no_definition = &health == &rings && error && error->code == ErrorCode::kNotFound;
  if (no_definition && !std::exchange(no_definition_logged, true)) {
    log.warn("the CustomResourceDefinition of ControllerRing is not installed, waiting for it");
  }
  no_definition_logged = no_definition_logged && !(watching && &health == &rings);
  update_readiness();
}

void Membership::Impl::lease_connection(bool watching) {
  if (watching) {
    ledger.lease_watch_opened();
  } else {
    ledger.lease_watch_lost();
  }
}

// `ticket` was taken before this was posted: else leader_work might look done before this leads.
void Membership::Impl::lead(bool now_leading, WaitGroup::Ticket ticket) {
  if (leading == now_leading) {
    return;
  }
  leading = now_leading;
  term = leading ? std::move(ticket) : WaitGroup::Ticket();
  ledger.set_leading(now_leading);
  for (ring::Listener* listener : listeners) {
    listener->on_leading(now_leading);
  }
  for (const WatchHealth* const health : {&rings, &leases}) {
    notify_troubles(*health, !leading);
  }
  request_flush();
}

void Membership::Impl::request_flush() {
  if (!std::exchange(flush_posted, true)) {
    post([](Impl& self) {
      self.flush_posted = false;
      self.flush();
    });
  }
}

void Membership::Impl::flush() {
  LedgerOutput output = ledger.take(now());
  if (output.ring_set) {
    const auto before = ring_sets.get();
    ring_sets.publish(output.ring_set);
    log_members(output, before.get());
  }
  if (output.snapshot) {
    const auto before = snapshots.get();
    snapshots.publish(output.snapshot);
    log_marks(output, before.get());
  }
  for (const ShardLease& lease : output.deleted) {
    log.warn("a shard lease was deleted while its shard held it",
             {{"ring", lease.ring}, {"object", to_string(lease.id)}});
  }
  count(output);
  update_readiness();
  for (const Change& change : output.changes) {
    notify(change);
    if (change.kind == ChangeKind::kRingAdded || change.kind == ChangeKind::kRingRemoved) {
      for (const WatchHealth* const health : {&rings, &leases}) {
        notify_trouble(change.ring, *health, change.kind == ChangeKind::kRingRemoved);
      }
    }
  }
  for (const LeaseTrouble& trouble : output.troubles) {
    notify(trouble);
  }
  for (Action& action : output.actions) {
    perform(std::move(action));
  }
  arm_timer();
}

void Membership::Impl::count(const LedgerOutput& output) {
  if (calculations == nullptr) {
    return;
  }
  // Both from the first on: a counter that appears with a 1 has not grown.
  const auto of = [this](const std::string& ring) {
    const auto [found, is_new] = counters.try_emplace(ring);
    if (is_new) {
      const prometheus::Labels labels{{"controllerring", ring}};
      found->second = {.calculations = &calculations->Add(labels), .deletions = &deletions->Add(labels)};
    }
    return found->second;
  };
  for (const std::string& name : output.calculated) {
    of(name).calculations->Increment();
  }
  for (const ShardLease& lease : output.deleted) {
    of(lease.ring).deletions->Increment();
  }
}

void Membership::Impl::arm_timer() {
  const auto due = ledger.next_due();
  if (due == timer_due) {
    return;
  }
  timer.cancel();
  timer_due = due;
  if (due) {
    const auto pause = std::max(*due, clock.steady()) - clock.steady();
    timer.set(pause, [this] {
      timer_due.reset();
      flush();
    });
  }
}

void Membership::Impl::log_members(const LedgerOutput& output, const ring::RingSet* before) const {
  for (const std::string& name : output.calculated) {
    const std::vector<std::string>& members = output.ring_set->find(name)->ring().shards();
    const ring::RingEntry* old = before == nullptr ? nullptr : before->find(name);
    if (old != nullptr) {
      std::vector<std::string> joined;
      std::vector<std::string> left;
      std::ranges::set_difference(members, old->ring().shards(), std::back_inserter(joined));
      std::ranges::set_difference(old->ring().shards(), members, std::back_inserter(left));
      for (const std::string& shard : joined) {
        log.info("shard joined the ring", {{"ring", name}, {"shard", shard}});
      }
      for (const std::string& shard : left) {
        const bool lives = output.ring_set->find(name)->is_available(shard);
        log.info(lives ? "shard is cordoned, its objects drain" : "shard left the ring",
                 {{"ring", name}, {"shard", shard}});
      }
    }
    log.info("ring computed", {{"ring", name}, {"shards", members.size()}, {"version", output.ring_set->version}});
  }
}

// What users have asked for, and cannot have.
void Membership::Impl::log_marks(const LedgerOutput& output, const ring::Snapshot* before) const {
  for (const Change& change : output.changes) {
    const ring::RingStatus* const now = output.snapshot->find(change.ring);
    const ring::RingStatus* const earlier = before == nullptr ? nullptr : before->find(change.ring);
    if (now != nullptr && now->all_cordoned && (earlier == nullptr || !earlier->all_cordoned)) {
      log.warn("all available shards are cordoned, so the cordons have no effect", {{"ring", change.ring}});
    }
    if (now != nullptr && !now->grace_period_error.empty() &&
        (earlier == nullptr || earlier->grace_period_error != now->grace_period_error)) {
      log.warn("a ring's grace period cannot be read, so there is none",
               {{"ring", change.ring}, {"error", now->grace_period_error}});
    }
  }
}

void Membership::Impl::notify(const Change& change) const {
  for (ring::Listener* listener : listeners) {
    switch (change.kind) {
      case ChangeKind::kRingAdded:
        listener->on_ring_added(change.ring);
        break;
      case ChangeKind::kRingChanged:
        listener->on_ring_changed(change.ring);
        break;
      case ChangeKind::kRingRemoved:
        listener->on_ring_removed(change.ring);
        break;
      case ChangeKind::kShardsChanged:
        listener->on_shards_changed(change.ring);
        break;
      case ChangeKind::kRebalanceRequested:
        listener->on_rebalance_requested(change.ring);
        break;
    }
  }
  if (change.kind == ChangeKind::kRingRemoved) {
    log.info("ring removed", {{"ring", change.ring}});
  } else if (change.kind == ChangeKind::kRingAdded) {
    log.info("ring added", {{"ring", change.ring}});
  }
}

void Membership::Impl::notify(const LeaseTrouble& trouble) const {
  if (trouble.error) {
    log.warn("shard leases cannot be cared for, trying again",
             {{"ring", trouble.ring}, {"error", trouble.error->message}});
  } else {
    log.info("shard leases can be cared for again", {{"ring", trouble.ring}});
  }
  for (ring::Listener* listener : listeners) {
    listener->on_trouble(trouble.ring, "care for shard leases", trouble.error);
  }
}

void Membership::Impl::notify_troubles(const WatchHealth& health, bool is_over) const {
  if (const auto snapshot = snapshots.get()) {
    for (const auto& [ring, status] : snapshot->rings) {
      notify_trouble(ring, health, is_over);
    }
  }
}

void Membership::Impl::notify_trouble(const std::string& ring, const WatchHealth& health, bool is_over) const {
  if (!health.trouble || (!leading && !is_over)) {
    return;
  }
  for (ring::Listener* listener : listeners) {
    listener->on_trouble(ring, "watch " + std::string(health.what), is_over ? std::nullopt : health.trouble);
  }
}

void Membership::Impl::update_readiness() {
  if (ring_sets.version() > 0) {
    not_ready.with([](auto& reason) { reason.reset(); });
    return;
  }
  const WatchHealth& late = ledger.rings_synced() ? leases : rings;
  std::string reason = "waiting for " + std::string(late.what);
  if (late.failure) {
    reason.append(": ").append(to_string(*late.failure));
  }
  not_ready.with([&reason](auto& current) { current = std::move(reason); });
}

void Membership::Impl::perform(Action action) {
  if (action.kind == ActionKind::kRecordInvalidName) {
    record_invalid_name(action);
    return;
  }
  kube::Request request = request_for(action);
  api.send(std::move(request), [to_control = post, action = std::move(action), began = clock.steady(),
                                ticket = leader_work.enter()](Result<kube::Response> response) {
    to_control([action, began, answer = read_answer(action, std::move(response))](Impl& impl) mutable {
      impl.finished(action, began, std::move(answer));
    });
  });
}

void Membership::Impl::finished(const Action& action, SteadyTime began, Result<ActionAnswer> answer) {
  if (action.kind != ActionKind::kRead) {
    reconciliations.ended(answer ? kube::ReconcileMetrics::kSuccess : kube::ReconcileMetrics::kError,
                          clock.steady() - began);
  }
  const std::string name = to_string(action.lease);
  if (answer) {
    if (action.kind == ActionKind::kSetLabel) {
      log.info("shard lease is " + std::string(to_string(action.state)), {{"ring", action.ring}, {"object", name}});
    } else if (action.kind != ActionKind::kRead) {
      log.info(
          action.kind == ActionKind::kTakeOver ? "took over the lease of a dead shard" : "deleted an orphaned lease",
          {{"ring", action.ring}, {"object", name}});
    }
  } else {
    // A lasting failure is logged as a warning too, see notify().
    log.debug("cannot " + std::string(describe(action.kind)) + ", trying again",
              {{"ring", action.ring}, {"object", name}, {"error", answer.error().message}});
  }
  ledger.action_finished(action, std::move(answer), now());
  request_flush();
}

void Membership::Impl::record_invalid_name(const Action& action) {
  constexpr std::string_view kMessage =
      "The name of the shard has more than 63 characters, so it cannot be the value of a label: the shard gets no "
      "objects";
  log.warn("shard stays out of the ring, its name is no label value",
           {{"ring", action.ring}, {"object", to_string(action.lease)}});
  events.record({.api_version = "coordination.k8s.io/v1",
                 .kind = "Lease",
                 .object_namespace = action.lease.lease_namespace,
                 .name = action.lease.name,
                 .uid = action.uid,
                 .resource_version = action.precondition ? action.precondition->resource_version() : ""},
                kube::EventType::kWarning, "InvalidShardName", kMessage);
}

void Membership::Impl::probe_after_pause() {
  probe_timer.set(HealthyTime::kProbePeriod, [this] { probe(); });
}

void Membership::Impl::probe() {
  const auto target = ledger.probe_target();
  if (!target) {
    probe_after_pause();
    return;
  }
  kube::Request request = kube::get_request(kube::kLeases, target->lease_namespace, target->name);
  request.lane = kube::Lane::kUrgent;
  request.timeout = HealthyTime::kProbeTimeout;
  api.send(std::move(request), [to_control = post](Result<kube::Response> response) {
    to_control([response = std::move(response)](Impl& impl) mutable { impl.probed(std::move(response)); });
  });
}

void Membership::Impl::probed(Result<kube::Response> response) {
  if (response) {
    auto lease = decode_shard_lease(response->body);
    ledger.probe_succeeded(lease ? std::optional(std::move(*lease)) : std::nullopt, now());
  } else if (response.error().code == ErrorCode::kNotFound) {
    ledger.probe_succeeded(std::nullopt, now());  // that is an answer too; the watch is about to show it
  } else {
    ledger.probe_failed();
    log.debug("probe failed", {{"error", response.error().message}});
  }
  request_flush();
  probe_after_pause();
}

Membership::Membership(Executor& control, kube::Api& api, const Clock& clock, prometheus::Registry* registry,
                       Logger log, WaitGroup& leader_work)
    : impl_(std::make_unique<Impl>(control, api, clock, registry, log, leader_work)) {}

Membership::~Membership() = default;

void Membership::add_listener(ring::Listener& listener) {
  impl_->listeners.push_back(&listener);
}

void Membership::start() {
  impl_->start();
}

void Membership::set_leading(bool leading) {
  impl_->post(
      [leading, ticket = impl_->leader_work.enter()](Impl& impl) mutable { impl.lead(leading, std::move(ticket)); });
}

const Published<ring::RingSet>& Membership::ring_sets() const {
  return impl_->ring_sets;
}

const Published<ring::Snapshot>& Membership::snapshots() const {
  return impl_->snapshots;
}

std::optional<std::string> Membership::not_ready() const {
  return impl_->not_ready.with([](const auto& reason) { return reason; });
}

}  // namespace sharder::membership
