#include "controllerring/controller.h"

#include <atomic>
#include <chrono>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "base/backoff.h"
#include "controllerring/apply_conflict.h"
#include "controllerring/status.h"
#include "controllerring/webhook_configuration.h"
#include "kube/json.h"
#include "kube/list_watch.h"
#include "kube/resource.h"
#include "ring/names.h"

namespace sharder::controllerring {

namespace {

// Between two reconciliations of a ring: shards often come in numbers.
constexpr std::chrono::milliseconds kPause{250};
// Before what somebody changed is repaired: he may be a controller that insists.
constexpr std::chrono::seconds kRepairPause{1};
constexpr BackoffPolicy kTransient{};  // the API server is away, a conflict
constexpr BackoffPolicy kLasting{.initial = std::chrono::seconds(1), .max = std::chrono::minutes(1)};
constexpr int kMaxStatusConflicts = 3;
constexpr std::string_view kFailed = "ReconciliationFailed";

// Whether trying again soon is of no use: somebody has to change something first.
bool is_lasting(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalid:
    case ErrorCode::kNotFound:
    case ErrorCode::kForbidden:
    case ErrorCode::kUnauthorized:
    case ErrorCode::kTooLarge:
      return true;
    default:
      return false;
  }
}

// Whether the API server said nothing: then an Event would not reach it either.
bool is_unanswered(ErrorCode code) {
  return code == ErrorCode::kUnavailable || code == ErrorCode::kTimeout || code == ErrorCode::kCancelled;
}

kube::ObjectReference reference(const ring::ControllerRing& ring) {
  return {.api_version = kube::kControllerRings.group + "/" + kube::kControllerRings.version,
          .kind = kube::kControllerRings.kind,
          .object_namespace = "",
          .name = ring.name,
          .uid = ring.uid};
}

std::vector<ring::GroupResource> all_resources(const ring::ControllerRing& ring) {
  std::vector<ring::GroupResource> found;
  for (const ring::RingResource& resource : ring.resources) {
    found.push_back(resource.main);
    found.insert(found.end(), resource.controlled.begin(), resource.controlled.end());
  }
  return found;
}

std::string join(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) {
    text += (text.empty() ? "\"" : ", \"") + name + "\"";
  }
  return text;
}

}  // namespace

// Everything but what is marked otherwise belongs to the control loop.
struct Controller::Impl : std::enable_shared_from_this<Impl> {
  Impl(Executor& control_loop, kube::Api& kube_api, kube::Discovery& kube_discovery, kube::EventRecorder& recorder,
       const Clock& system_clock, const Published<ring::Snapshot>& published, Settings configuration, Logger logger)
      : control(control_loop),
        api(kube_api),
        discovery(kube_discovery),
        events(recorder),
        clock(system_clock),
        snapshots(published),
        settings(std::move(configuration)),
        log(logger.named("controllerring")) {}

  // One reconciliation. It is abandoned by no longer being the one of its ring.
  struct Run {
    std::string ring;
    std::shared_ptr<const ring::Snapshot> snapshot;  // keeps `status`
    const ring::RingStatus* status = nullptr;
    std::map<std::size_t, Error> missing;  // by place in the spec
    std::size_t unresolved = 0;
    CaBundle ca_bundle = CaBundle::kAsConfigured;
    bool force = false;
    std::optional<Error> error;
    int status_conflicts = 0;
  };
  using RunPtr = std::shared_ptr<Run>;

  struct Work {
    RunPtr run;            // under way
    bool wanted = false;   // something changed since it began
    bool changed = false;  // the spec did
    Executor::TimerId timer = 0;
    std::optional<Backoff> backoff;  // while it fails
    bool backoff_lasting = false;
    std::string told;             // the error that was logged and made an Event of, "" after a success
    bool succeeded = false;       // once
    std::string applied_version;  // of the webhook configuration, as we left it
    std::string seen_version;     // as the watch showed it during the run
  };

  class Sink;

  // Runs f(*this) on the control loop unless it is over by then. Any thread.
  template <class F>
  void post(F f) {
    control.post([weak = weak_from_this(), f = std::move(f)]() mutable {
      if (const auto self = weak.lock(); self && !self->stopped) {
        f(*self);
      }
    });
  }
  // Sends the request; `handle` gets the answer on the control loop if the run still counts then.
  void send(const RunPtr& run, kube::Request request, void (Impl::*handle)(const RunPtr&, Result<kube::Response>));
  bool is_current(const RunPtr& run) const;

  void lead(bool now_leading);
  void stop();
  // Asks for a reconciliation; `changed`: of the ring itself, which ends a backoff.
  void want(const std::string& ring, bool changed);
  void forget(const std::string& ring);
  void schedule(const std::string& ring, std::chrono::nanoseconds delay);

  void begin(const std::string& ring);
  void resolve_resources(const RunPtr& run);
  void resolved(const RunPtr& run, std::size_t place, const std::optional<Error>& error);
  void apply(const RunPtr& run);
  void applied(const RunPtr& run, Result<kube::Response> answer);
  void apply_failed(const RunPtr& run, Error error);
  void read_ring(const RunPtr& run);
  void write_status(const RunPtr& run, Result<kube::Response> ring);
  void status_written(const RunPtr& run, Result<kube::Response> answer);
  void finish(const RunPtr& run);
  void report(Work& work, const Run& run);

  void watch_configurations();
  void configuration_seen(const std::string& ring, const std::string& version, bool deleted);
  void configuration_watch_forbidden(const Error& error);

  // Constant, or with their own synchronisation:
  Executor& control;
  kube::Api& api;
  kube::Discovery& discovery;
  kube::EventRecorder& events;
  const Clock& clock;
  const Published<ring::Snapshot>& snapshots;
  const Settings settings;
  const Logger log;
  std::atomic<std::size_t> in_flight = 0;
  std::atomic<bool> leading = false;  // written by the control loop
  std::atomic<bool> stopped = false;

  // The control loop's:
  std::map<std::string, Work> works;  // while leading, one for each ring
  std::shared_ptr<kube::ListWatch> configuration_watch;
  bool told_forbidden = false;
};

// What the watch of our webhook configurations shows, on the API loop.
class Controller::Impl::Sink final : public kube::WatchSink {
 public:
  explicit Sink(std::weak_ptr<Impl> impl) : impl_(std::move(impl)) {}

  void on_event(const kube::WatchEvent& event) override {
    const auto impl = impl_.lock();
    if (!impl || event.object.empty()) {
      return;
    }
    const auto object = kube::parse_json(event.object);
    if (!object) {
      return;
    }
    const std::string name = kube::string_at(*object, "/metadata/name");
    const std::string prefix = webhook_configuration_name("");
    if (name.starts_with(prefix)) {
      impl->post([ring = name.substr(prefix.size()), version = kube::string_at(*object, "/metadata/resourceVersion"),
                  deleted = event.type == kube::WatchEventType::kDelete](Impl& self) {
        self.configuration_seen(ring, version, deleted);
      });
    }
  }

  void on_connection(bool /*watching*/, const std::optional<Error>& error) override {
    if (const auto impl = impl_.lock(); impl && error && error->code == ErrorCode::kForbidden) {
      impl->post([error = *error](Impl& self) { self.configuration_watch_forbidden(error); });
    }
  }

 private:
  const std::weak_ptr<Impl> impl_;
};

void Controller::Impl::send(const RunPtr& run, kube::Request request,
                            void (Impl::*handle)(const RunPtr&, Result<kube::Response>)) {
  ++in_flight;
  api.send(std::move(request), [weak = weak_from_this(), run, handle](Result<kube::Response> answer) {
    if (const auto self = weak.lock()) {
      --self->in_flight;
      self->post([run, handle, answer = std::move(answer)](Impl& impl) mutable {
        if (impl.is_current(run)) {
          (impl.*handle)(run, std::move(answer));
        }
      });
    }
  });
}

bool Controller::Impl::is_current(const RunPtr& run) const {
  const auto work = works.find(run->ring);
  return work != works.end() && work->second.run == run;
}

void Controller::Impl::lead(bool now_leading) {
  if (leading == now_leading) {
    return;
  }
  leading = now_leading;
  if (leading) {
    watch_configurations();
    if (const auto snapshot = snapshots.get()) {
      for (const auto& [name, status] : snapshot->rings) {
        want(name, true);
      }
    }
    return;
  }
  for (const auto& [name, work] : works) {
    control.cancel(work.timer);
  }
  works.clear();
  if (auto watch = std::exchange(configuration_watch, nullptr)) {
    watch->stop();
  }
}

void Controller::Impl::stop() {
  stopped = true;
  if (configuration_watch) {
    configuration_watch->stop();
  }
  for (const auto& [name, work] : works) {
    control.cancel(work.timer);
  }
}

void Controller::Impl::want(const std::string& ring, bool changed) {
  if (!leading) {
    return;
  }
  Work& work = works[ring];
  if (work.run) {
    work.wanted = true;
    work.changed = work.changed || changed;
  } else if (changed || !work.backoff) {
    // Not while it fails: more shards do not make a wrong spec right.
    schedule(ring, std::chrono::nanoseconds(0));
  }
}

void Controller::Impl::forget(const std::string& ring) {
  if (const auto work = works.find(ring); work != works.end()) {
    control.cancel(work->second.timer);
    works.erase(work);
  }
}

void Controller::Impl::schedule(const std::string& ring, std::chrono::nanoseconds delay) {
  Work& work = works.at(ring);
  control.cancel(work.timer);
  work.timer = control.post_after(delay, [weak = weak_from_this(), ring] {
    if (const auto self = weak.lock(); self && !self->stopped) {
      self->begin(ring);
    }
  });
}

void Controller::Impl::begin(const std::string& ring) {
  auto snapshot = snapshots.get();
  const ring::RingStatus* status = snapshot ? snapshot->find(ring) : nullptr;
  if (status == nullptr || status->deleting) {
    return;  // the garbage collection removes its webhook configuration; do not put it back
  }
  Work& work = works.at(ring);
  work.wanted = work.changed = false;
  work.seen_version.clear();
  work.run = std::make_shared<Run>();
  work.run->ring = ring;
  work.run->snapshot = std::move(snapshot);
  work.run->status = status;
  if (!status->spec_error.empty()) {
    work.run->error = Error{.code = ErrorCode::kInvalid, .message = status->spec_error};
    read_ring(work.run);
    return;
  }
  resolve_resources(work.run);
}

void Controller::Impl::resolve_resources(const RunPtr& run) {
  const auto resources = all_resources(run->status->spec);
  run->unresolved = resources.size();
  if (resources.empty()) {
    apply(run);
    return;
  }
  for (std::size_t place = 0; place < resources.size(); ++place) {
    const ring::GroupResource& resource = resources[place];
    discovery.resolve(resource.group, resource.resource,
                      [weak = weak_from_this(), run, place, name = to_string(resource)](Result<kube::Resource> found) {
                        const auto self = weak.lock();
                        if (!self) {
                          return;
                        }
                        std::optional<Error> error;
                        if (!found) {
                          error = std::move(found.error());
                          const bool absent = error->code == ErrorCode::kNotFound;
                          error->message = "resource \"" + name + "\"" +
                                           (absent ? " is not served by the API server" : ": " + error->message);
                        }
                        self->post([run, place, error = std::move(error)](Impl& impl) {
                          if (impl.is_current(run)) {
                            impl.resolved(run, place, error);
                          }
                        });
                      });
  }
}

void Controller::Impl::resolved(const RunPtr& run, std::size_t place, const std::optional<Error>& error) {
  if (error) {
    run->missing.emplace(place, *error);
  }
  if (--run->unresolved > 0) {
    return;
  }
  if (run->missing.empty()) {
    apply(run);
  } else {
    run->error = run->missing.begin()->second;
    read_ring(run);
  }
}

void Controller::Impl::apply(const RunPtr& run) {
  const ring::ControllerRing& spec = run->status->spec;
  send(run,
       kube::apply_request(kube::kMutatingWebhookConfigurations, "", webhook_configuration_name(spec.name),
                           webhook_configuration(spec, settings.webhook, run->ca_bundle), kFieldManager, run->force),
       &Impl::applied);
}

void Controller::Impl::applied(const RunPtr& run, Result<kube::Response> answer) {
  if (!answer) {
    apply_failed(run, std::move(answer.error()));
    return;
  }
  if (const auto object = kube::parse_json(answer->body)) {
    works.at(run->ring).applied_version = kube::string_at(*object, "/metadata/resourceVersion");
  }
  read_ring(run);
}

// Each retry leads to less that can conflict, so there are at most two: without the caBundle, with force.
void Controller::Impl::apply_failed(const RunPtr& run, Error error) {
  const auto conflict = parse_apply_conflict(error);
  const bool with_ca_bundle =
      !settings.webhook.client_config.ca_bundle.empty() && run->ca_bundle == CaBundle::kAsConfigured;
  if (conflict && with_ca_bundle && conflict->ca_bundle) {
    run->error = Error{.code = ErrorCode::kForbidden,
                       .message = "the caBundle of webhook configuration " + webhook_configuration_name(run->ring) +
                                  " is managed by " + join(conflict->managers) + " and stays as it is"};
    run->ca_bundle = CaBundle::kLeaveOut;
    apply(run);
    return;
  }
  // With an incomplete message the caBundle may be one of the fields.
  if (conflict && !run->force && (!with_ca_bundle || conflict->complete)) {
    const std::string configuration = webhook_configuration_name(run->ring);
    events.record(
        reference(run->status->spec), kube::EventType::kWarning, "FieldConflict",
        "Took over fields of webhook configuration " + configuration + " that were set by " + join(conflict->managers));
    log.warn("taking over fields of a webhook configuration", {{"ring", run->ring}, {"error", error.message}});
    run->force = true;
    apply(run);
    return;
  }
  error.message.insert(0, "apply webhook configuration: ");
  run->error = std::move(error);
  read_ring(run);
}

void Controller::Impl::read_ring(const RunPtr& run) {
  send(run, kube::get_request(kube::kControllerRings, "", run->ring), &Impl::write_status);
}

void Controller::Impl::write_status(const RunPtr& run, Result<kube::Response> ring) {
  Outcome outcome{.generation = run->status->spec.generation,
                  .error = std::nullopt,
                  .shards = static_cast<std::int64_t>(run->status->shards.size()),
                  .available_shards = run->status->available_shards};
  if (run->error) {
    outcome.error = run->error->message;
  }
  if (!ring) {
    status_written(run, std::unexpected(std::move(ring.error())));
    return;
  }
  if (const auto object = kube::parse_json(ring->body);
      object && kube::string_at(*object, "/metadata/uid") != run->status->spec.uid) {
    finish(run);  // another ring of the same name: the watch is about to show it
    return;
  }
  auto body = status_body(ring->body, outcome, clock.wall());
  if (!body) {
    status_written(run, std::unexpected(std::move(body.error())));
  } else if (!*body) {
    finish(run);
  } else {
    send(run, kube::update_request(kube::kControllerRings, "", run->ring, "status", std::move(**body), kFieldManager),
         &Impl::status_written);
  }
}

void Controller::Impl::status_written(const RunPtr& run, Result<kube::Response> answer) {
  if (!answer && answer.error().code == ErrorCode::kConflict && ++run->status_conflicts <= kMaxStatusConflicts) {
    read_ring(run);
    return;
  }
  // A ring that is gone needs no status; the watch is about to show it.
  if (!answer && answer.error().code != ErrorCode::kNotFound && !run->error) {
    run->error = std::move(answer.error());
    run->error->message.insert(0, "update status: ");
  }
  finish(run);
}

void Controller::Impl::finish(const RunPtr& run) {
  Work& work = works.at(run->ring);
  report(work, *run);
  work.run.reset();
  if (!run->error) {
    work.backoff.reset();
    const bool touched = !work.seen_version.empty() && work.seen_version != work.applied_version;
    schedule(run->ring, work.wanted ? kPause : touched ? std::chrono::nanoseconds(kRepairPause) : settings.sync_period);
    return;
  }
  const bool lasting = is_lasting(run->error->code);
  if (!work.backoff || work.backoff_lasting != lasting) {
    work.backoff.emplace(lasting ? kLasting : kTransient);
    work.backoff_lasting = lasting;
  }
  const std::chrono::nanoseconds delay = work.backoff->next();
  schedule(run->ring, work.changed ? kPause : delay);
}

// A failure is told once, until it is another one or over.
void Controller::Impl::report(Work& work, const Run& run) {
  if (!run.error) {
    if (!work.succeeded || !work.told.empty()) {
      log.info("ring reconciled", {{"ring", run.ring}});
    }
    work.succeeded = true;
    work.told.clear();
    return;
  }
  if (work.told == run.error->message) {
    log.debug("cannot reconcile ring, trying again", {{"ring", run.ring}, {"error", run.error->message}});
    return;
  }
  work.told = run.error->message;
  log.warn("cannot reconcile ring, trying again", {{"ring", run.ring}, {"error", run.error->message}});
  if (!is_unanswered(run.error->code)) {
    events.record(reference(run.status->spec), kube::EventType::kWarning, kFailed, capitalised(run.error->message));
  }
}

void Controller::Impl::watch_configurations() {
  configuration_watch = kube::ListWatch::start(api,
                                               {.resource = kube::kMutatingWebhookConfigurations,
                                                .label_selector = std::string(ring::kRingLabel),
                                                .metadata_only = true},
                                               std::make_shared<Sink>(weak_from_this()), Logger::none());
}

void Controller::Impl::configuration_seen(const std::string& ring, const std::string& version, bool deleted) {
  const auto found = works.find(ring);
  if (found == works.end()) {
    return;
  }
  Work& work = found->second;
  if (work.run) {
    work.seen_version = deleted ? "deleted" : version;
  } else if (!work.backoff && (deleted || version != work.applied_version)) {
    log.debug("webhook configuration changed, applying it again", {{"ring", ring}});
    schedule(ring, kRepairPause);
  }
}

void Controller::Impl::configuration_watch_forbidden(const Error& error) {
  if (auto watch = std::exchange(configuration_watch, nullptr)) {
    watch->stop();
  }
  if (!std::exchange(told_forbidden, true)) {
    log.info("not allowed to watch webhook configurations, they are repaired at each sync only",
             {{"error", error.message}});
  }
}

Controller::Controller(Executor& control, kube::Api& api, kube::Discovery& discovery, kube::EventRecorder& events,
                       const Clock& clock, const Published<ring::Snapshot>& snapshots, Settings settings, Logger log)
    : impl_(std::make_shared<Impl>(control, api, discovery, events, clock, snapshots, std::move(settings), log)) {}

Controller::~Controller() {
  impl_->stop();
}

void Controller::on_ring_added(const std::string& ring) {
  impl_->want(ring, true);
}

void Controller::on_ring_changed(const std::string& ring) {
  impl_->want(ring, true);
}

void Controller::on_ring_removed(const std::string& ring) {
  impl_->forget(ring);
}

void Controller::on_shards_changed(const std::string& ring) {
  impl_->want(ring, false);
}

void Controller::on_leading(bool leading) {
  impl_->lead(leading);
}

std::size_t Controller::requests_in_flight() const {
  return impl_->in_flight + (impl_->leading ? 1 : 0);
}

}  // namespace sharder::controllerring
