#include "controllerring/controller.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "base/backoff.h"
#include "base/base64.h"
#include "base/lifetime.h"
#include "base/poster.h"
#include "base/timer.h"
#include "controllerring/assignment_reporter.h"
#include "controllerring/reachability_reporter.h"
#include "controllerring/reconciliation.h"
#include "controllerring/repairs.h"
#include "controllerring/status.h"
#include "controllerring/webhook_configuration.h"
#include "kube/client/lasting_failure.h"
#include "kube/client/resource.h"
#include "kube/client/retries.h"
#include "kube/codec/object_meta.h"
#include "kube/watch/list_watch.h"
#include "ring/names.h"

namespace sharder::controllerring {

namespace {

// Between two reconciliations of a ring: often several shards come at once.
constexpr std::chrono::nanoseconds kPause = std::chrono::milliseconds(250);
constexpr BackoffPolicy kLastingPauses{.initial = std::chrono::seconds(1), .max = std::chrono::minutes(1)};
constexpr std::string_view kFailed = "ReconciliationFailed";
// A new leader learns the caBundle in a moment, if it is ours. After this time its absence is a failure.
constexpr std::chrono::seconds kCaBundleWait{10};

std::string messages(const std::map<std::string, Error>& troubles) {
  return joined(troubles, "; ", [](const auto& trouble) { return trouble.second.message; });
}

}  // namespace

// Belongs to the control loop, except what is marked otherwise.
struct Controller::Impl {
  Impl(Executor& control_loop, kube::Api& kube_api, kube::Discovery& discovery, kube::EventRecorder& events,
       const Clock& clock, const Published<ring::Snapshot>& published, ControllerOptions options,
       prometheus::Registry* registry, const Logger& logger, WaitGroup& leader_work)
      : control(control_loop),
        api(kube_api),
        snapshots(published),
        log(logger.named("controllerring")),
        tools(new Tools{control, api, discovery, events, clock, std::move(options),
                        kube::ReconcileMetrics(registry, "controllerring"), log, leader_work}) {}

  struct Work {
    Work(Executor& control, std::chrono::nanoseconds sync_period) : timer(control), repairs(sync_period) {}
    ~Work() {
      if (run) {
        run->drop();
      }
    }
    Work(const Work&) = delete;
    Work& operator=(const Work&) = delete;

    std::shared_ptr<Reconciliation> run;  // under way
    SteadyTime began = {};
    bool wanted = false;   // something changed since the last one began
    bool changed = false;  // the spec changed
    Timer timer;
    SteadyTime next = {};  // sync, or try again, if nothing happens before
    kube::Retries retries{{.lasting = kLastingPauses}};
    std::string logged;                   // the failure that was logged last, "" after a success
    bool recorded = false;                // an Event of it
    bool succeeded = false;               // once
    Repairs repairs;                      // of the webhook configuration
    std::optional<std::int64_t> applied;  // the generation whose apply could take fields back
    // The generation for which fields were taken back from another manager, until nobody has contested any for long.
    std::optional<std::int64_t> taken_back;
    std::set<std::string> logged_contests;  // likewise, the contests that were logged
    LiveCaBundle ca_bundle = LiveCaBundle::kKeepOurs;
  };

  class Sink;

  void lead(bool now_leading);
  // Asks for a reconciliation; `changed`: the ring itself has changed, which ends a pause.
  void want(const std::string& ring, bool changed);
  void set_ca_bundle(const std::string& pem);
  void note_trouble(const std::string& ring, const std::string& what, const std::optional<Error>& trouble);
  void schedule(const std::string& ring, std::chrono::nanoseconds pause);
  // Waits for the time to sync or to try again, or to repair the webhook configuration if that comes first.
  void rest(const std::string& ring);

  void begin(const std::string& ring);
  // Besides Ready, as far as is known.
  std::map<std::string_view, Condition> other_conditions(const ring::ControllerRing& spec) const;
  void finish(const std::string& ring, const Reconciliation::Report& report);
  // Logs the result, and records an Event of a failure that lasts, once for each new failure.
  void log_result(Work& work, const std::string& ring, const Reconciliation::Report& report, bool fails_for_long);
  // Logs a contest about fields, and records an Event if they were taken back, once for as long as it lasts.
  void log_contest(Work& work, const Reconciliation::Report& report);

  void watch_configurations();
  void configuration_seen(const std::string& ring, const std::string& document, bool deleted);
  // After the first list, missing ones are about to be made.
  void configurations_listed(const std::set<std::string>& rings, bool again);
  void configuration_watch_works();
  void configuration_watch_failed(const Error& error);

  // Constant, or with their own synchronisation:
  Executor& control;
  kube::Api& api;
  const Published<ring::Snapshot>& snapshots;
  const Logger log;
  const std::shared_ptr<Tools> tools;

  // The control loop's:
  bool leading = false;
  SteadyTime leading_since = {};
  WaitGroup::Ticket term;                                        // while it leads
  std::map<std::string, Work> works;                             // while leading, one for each ring
  std::map<std::string, std::map<std::string, Error>> troubles;  // by ring and what fails
  std::shared_ptr<kube::ListWatch> configuration_watch;
  kube::LastingFailure configuration_watch_failure;
  bool not_permitted_logged = false;
  std::optional<ReachabilityReporter> reachability;
  std::optional<AssignmentReporter> assignment;
  Lifetime lifetime;
};

// What the watch of our webhook configurations shows, on the API loop.
class Controller::Impl::Sink final : public kube::WatchSink {
 public:
  explicit Sink(Poster<Impl> post) : post_(std::move(post)) {}

  void on_event(const kube::WatchEvent& event) override {
    if (event.type == kube::WatchEventType::kInit) {
      listed_.clear();
    } else if (event.type == kube::WatchEventType::kInitDone) {
      list_ended();
    } else {
      object_came(event);
    }
  }

  void on_connection(bool watching, const std::optional<Error>& error) override {
    if (watching) {
      post_([](Impl& impl) { impl.configuration_watch_works(); });
    } else if (error) {
      post_([error = *error](Impl& impl) { impl.configuration_watch_failed(error); });
    }
  }

 private:
  void object_came(const kube::WatchEvent& event) {
    const auto object = decoder_.decode(event.object);
    const std::string prefix = webhook_configuration_name("");
    if (!object || !object->name.starts_with(prefix)) {
      return;
    }
    std::string ring = object->name.substr(prefix.size());
    const bool deleted = event.type == kube::WatchEventType::kDelete;
    if (deleted) {
      listed_.erase(ring);
    } else if (event.type == kube::WatchEventType::kInitApply) {
      listed_.insert(ring);
    }
    post_([ring = std::move(ring), document = std::string(event.object), deleted](Impl& impl) {
      impl.configuration_seen(ring, document, deleted);
    });
  }

  // Finds the configurations that went while nobody watched.
  void list_ended() {
    post_([listed = listed_, again = std::exchange(has_listed_, true)](Impl& impl) {
      impl.configurations_listed(listed, again);
    });
    listed_.clear();
  }

  const Poster<Impl> post_;
  kube::ObjectMetaDecoder decoder_;
  std::set<std::string> listed_;  // rings whose configurations the list that is under way has shown
  bool has_listed_ = false;
};

void Controller::Impl::lead(bool now_leading) {
  if (leading == now_leading) {
    return;
  }
  leading = now_leading;
  if (reachability) {
    reachability->lead(leading);
  }
  if (assignment) {
    assignment->lead(leading);
  }
  term = leading ? tools->leader_work.enter() : WaitGroup::Ticket();
  if (leading) {
    leading_since = tools->clock.steady();
    watch_configurations();
    if (const auto snapshot = snapshots.get()) {
      for (const auto& [name, status] : snapshot->rings) {
        want(name, true);
      }
    }
    return;
  }
  works.clear();
  configuration_watch.reset();
  tools->has_ca_bundle = false;  // another leader may publish other roots meanwhile
}

void Controller::Impl::want(const std::string& ring, bool changed) {
  if (!leading) {
    return;
  }
  Work& work = works.try_emplace(ring, control, tools->options.sync_period).first->second;
  if (work.run) {
    work.wanted = true;
    work.changed = work.changed || changed;
  } else if (changed || !work.retries.pending()) {
    // Not while it fails: more shards do not make a wrong spec right.
    work.wanted = true;
    schedule(ring, std::chrono::nanoseconds(0));
  }
}

void Controller::Impl::set_ca_bundle(const std::string& pem) {
  if (!leading) {
    return;
  }
  tools->options.webhook.client_config.ca_bundle = encode_base64(pem);
  tools->has_ca_bundle = true;
  for (auto& [ring, work] : works) {
    work.ca_bundle = LiveCaBundle::kKeepOurs;  // it was applied, even if there is none from now on
    want(ring, true);
  }
}

void Controller::Impl::note_trouble(const std::string& ring, const std::string& what,
                                    const std::optional<Error>& trouble) {
  auto& known = troubles[ring];
  if (trouble) {
    known.insert_or_assign(what, *trouble);
  } else {
    known.erase(what);
  }
  if (known.empty()) {
    troubles.erase(ring);
  }
  if (works.contains(ring)) {
    want(ring, true);
  }
}

void Controller::Impl::schedule(const std::string& ring, std::chrono::nanoseconds pause) {
  works.at(ring).timer.set(pause, [this, ring] { begin(ring); });
}

void Controller::Impl::rest(const std::string& ring) {
  const Work& work = works.at(ring);
  const SteadyTime next = std::min(work.next, work.repairs.due().value_or(work.next));
  schedule(ring, std::max(next - tools->clock.steady(), std::chrono::nanoseconds(0)));
}

void Controller::Impl::begin(const std::string& ring) {
  const auto snapshot = snapshots.get();
  const auto found = snapshot ? snapshot->rings.find(ring) : decltype(snapshot->rings.end())();
  if (!snapshot || found == snapshot->rings.end() || found->second->deleting) {
    return;  // the garbage collection removes its webhook configuration; do not put it back
  }
  Work& work = works.at(ring);
  const SteadyTime now = tools->clock.steady();
  const bool waits = tools->waits_for_ca_bundle();
  if (waits && now - leading_since < kCaBundleWait) {
    schedule(ring, leading_since + kCaBundleWait - now);  // or sooner, when it comes
    return;
  }
  work.wanted = work.changed = false;
  const std::int64_t generation = found->second->spec.generation;
  // Not at each retry of a failure that has another reason; but a new spec is always applied.
  const bool take_back = !waits && (work.repairs.may_take_back(now) || work.applied != generation);
  if (take_back) {
    work.repairs.applying(now);
    work.applied = generation;
  }
  const auto known = troubles.find(ring);
  const auto narrowing = work.taken_back == generation ? Narrowing::kLeave : Narrowing::kTakeBack;
  const auto conflicts = take_back ? Conflicts::kTakeBack : Conflicts::kLeave;
  work.run = std::make_shared<Reconciliation>(
      tools, found->second,
      Reconciliation::Known{.trouble = known == troubles.end() ? "" : messages(known->second),
                            .others = other_conditions(found->second->spec)},
      narrowing, conflicts, work.ca_bundle,
      lifetime.bind([this, ring](const Reconciliation::Report& report) { finish(ring, report); }));
  work.began = now;
  work.run->start();
}

std::map<std::string_view, Condition> Controller::Impl::other_conditions(const ring::ControllerRing& spec) const {
  std::map<std::string_view, Condition> known;
  const auto add = [&](std::string_view type, const auto& reporter) {
    if (auto condition = reporter ? reporter->reported(spec.name, spec.uid) : std::nullopt) {
      known.emplace(type, *std::move(condition));
    }
  };
  add(ring::kWebhookReachable, reachability);
  add(ring::kAllAssigned, assignment);
  return known;
}

void Controller::Impl::finish(const std::string& ring, const Reconciliation::Report& report) {
  Work& work = works.at(ring);
  const SteadyTime now = tools->clock.steady();
  std::chrono::nanoseconds pause = tools->options.sync_period;
  bool fails_for_long = !report.message.empty();  // without an error: what others report
  tools->reconciliations.ended(report.error ? kube::ReconcileMetrics::kError : kube::ReconcileMetrics::kSuccess,
                               now - work.began);
  if (report.error) {
    const kube::Retries::Failure failure = work.retries.failed(*report.error, now);
    pause = failure.pause;
    fails_for_long = failure.lasts;
  } else {
    work.retries.succeeded(now);
  }
  if (report.ca_bundle_is_left) {
    work.ca_bundle = LiveCaBundle::kNotOurs;  // and is not going to be: it is never applied
  }
  if (reachability && !report.configuration.empty()) {
    reachability->configuration_applied(ring, report.configuration);
  }
  log_result(work, ring, report, fails_for_long);
  log_contest(work, report);
  work.run.reset();
  work.next = now + pause;
  // While it fails, only a change of the spec ends the wait.
  work.wanted = report.error ? work.changed : work.wanted;
  if (work.wanted) {
    schedule(ring, kPause);
  } else {
    rest(ring);
  }
}

void Controller::Impl::log_result(Work& work, const std::string& ring, const Reconciliation::Report& report,
                                  bool fails_for_long) {
  if (report.message.empty()) {
    if (!work.succeeded || !work.logged.empty()) {
      log.info("ring reconciled", {{"ring", ring}});
    }
    work.succeeded = true;
    work.logged.clear();
    return;
  }
  if (work.logged == report.message) {
    log.debug("cannot reconcile ring, trying again", {{"ring", ring}, {"error", report.message}});
  } else {
    log.warn("cannot reconcile ring, trying again", {{"ring", ring}, {"error", report.message}});
    work.logged = report.message;
    work.recorded = false;
  }
  // A failure that may pass in a moment gets no Event; in an outage the Event would not reach the API server.
  if (fails_for_long && !std::exchange(work.recorded, true)) {
    tools->events.record(work.run->reference(), kube::EventType::kWarning, kFailed, capitalised(report.message));
  }
}

void Controller::Impl::log_contest(Work& work, const Reconciliation::Report& report) {
  using Contest = Reconciliation::Contest;
  const ring::ControllerRing& spec = work.run->spec();
  if (report.contest == Contest::kNone) {
    if (!report.error && work.repairs.lasted(tools->clock.steady())) {
      work.taken_back.reset();
      work.logged_contests.clear();
    }
    return;
  }
  if (report.contest == Contest::kPostponed) {
    return;
  }
  const bool left = report.contest == Contest::kNarrowed;
  if (!left) {
    work.taken_back = spec.generation;
    work.repairs.taken_back(tools->clock.steady());
  }
  if (!work.logged_contests.insert((left ? "left " : "taken back ") + report.managers).second) {
    return;
  }
  if (left) {
    log.info("leaving a webhook's namespaceSelector as another manager has narrowed it",
             {{"ring", spec.name}, {"manager", report.managers}});
    return;
  }
  log.warn("taking over fields of a webhook configuration", {{"ring", spec.name}, {"manager", report.managers}});
  tools->events.record(work.run->reference(), kube::EventType::kWarning, "FieldConflict",
                       "Took over fields of webhook configuration " + webhook_configuration_name(spec.name) +
                           " that were set by " + report.managers);
}

void Controller::Impl::watch_configurations() {
  configuration_watch_failure = {};
  configuration_watch = kube::ListWatch::start(api, tools->clock,
                                               {.resource = kube::kMutatingWebhookConfigurations,
                                                .label_selector = std::string(ring::kRingLabel),
                                                .sink_handles_failures = true},
                                               std::make_shared<Sink>(Poster(*this, lifetime, control)), log);
}

void Controller::Impl::configuration_seen(const std::string& ring, const std::string& document, bool deleted) {
  if (reachability) {
    reachability->configuration_seen(ring, deleted ? "" : document);
  }
  const auto found = works.find(ring);
  const auto snapshot = snapshots.get();
  const ring::RingStatus* const status = snapshot ? snapshot->find(ring) : nullptr;
  if (found == works.end() || status == nullptr || !status->spec_error.empty()) {
    return;
  }
  Work& work = found->second;
  std::string wanted = webhook_configuration(status->spec, tools->options.webhook);
  if (work.taken_back == status->spec.generation) {
    wanted = with_narrowed_selector(wanted, document).value_or(wanted);
  }
  work.repairs.seen(!deleted && is_in_place(wanted, document), tools->clock.steady());
  if (!work.run && !work.wanted) {
    rest(ring);
  }
}

void Controller::Impl::configurations_listed(const std::set<std::string>& rings, bool again) {
  if (reachability) {
    reachability->watch_complete();
  }
  if (!again) {
    return;
  }
  for (const auto& [ring, work] : works) {
    if (!rings.contains(ring)) {
      configuration_seen(ring, "", true);
    }
  }
}

void Controller::Impl::configuration_watch_works() {
  if (configuration_watch_failure.succeeded(tools->clock.steady())) {
    log.info("webhook configurations can be watched again");
  }
}

// The watch tries again by itself, unless that is not permitted for long.
void Controller::Impl::configuration_watch_failed(const Error& error) {
  if (!configuration_watch_failure.failed(error, tools->clock.steady())) {
    return;
  }
  if (error.code != ErrorCode::kForbidden) {
    log.warn("webhook configurations cannot be watched, for now they are repaired at each sync only",
             {{"error", error.message}});
    return;
  }
  configuration_watch.reset();
  if (reachability) {
    reachability->watch_given_up();
  }
  if (!std::exchange(not_permitted_logged, true)) {
    log.info("not allowed to watch webhook configurations, they are repaired at each sync only",
             {{"error", error.message}});
  }
}

Controller::Controller(Executor& control, kube::Api& api, kube::Discovery& discovery, kube::EventRecorder& events,
                       const Clock& clock, const Published<ring::Snapshot>& snapshots, ControllerOptions options,
                       prometheus::Registry* registry, const Logger& log, WaitGroup& leader_work)
    : impl_(std::make_unique<Impl>(control, api, discovery, events, clock, snapshots, std::move(options), registry, log,
                                   leader_work)) {}

Controller::~Controller() = default;

void Controller::on_ring_added(const std::string& ring) {
  impl_->want(ring, true);
}

void Controller::on_ring_changed(const std::string& ring) {
  impl_->want(ring, true);
}

void Controller::on_ring_removed(const std::string& ring) {
  impl_->works.erase(ring);
  if (impl_->reachability) {
    impl_->reachability->ring_removed(ring);
  }
  if (impl_->assignment) {
    impl_->assignment->ring_removed(ring);
  }
}

void Controller::on_shards_changed(const std::string& ring) {
  impl_->want(ring, false);
}

void Controller::on_leading(bool leading) {
  impl_->lead(leading);
}

void Controller::set_ca_bundle(const std::string& pem) {
  impl_->set_ca_bundle(pem);
}

void Controller::report_reachability(TrustCheck check) {
  impl_->reachability.emplace(impl_->tools, impl_->snapshots, std::move(check));
}

void Controller::report_assignment(AssignmentCheck check) {
  impl_->assignment.emplace(impl_->tools, impl_->snapshots, std::move(check));
}

void Controller::on_trouble(const std::string& ring, const std::string& what, const std::optional<Error>& trouble) {
  impl_->note_trouble(ring, what, trouble);
}

}  // namespace sharder::controllerring
