#include "controllerring/controller.h"

#include <atomic>
#include <chrono>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include "base/backoff.h"
#include "controllerring/reconciliation.h"
#include "controllerring/status.h"
#include "controllerring/webhook_configuration.h"
#include "kube/lasting_refusal.h"
#include "kube/list_watch.h"
#include "kube/object_meta.h"
#include "kube/resource.h"
#include "ring/names.h"

namespace sharder::controllerring {

namespace {

// Between two reconciliations of a ring: shards often come in numbers.
constexpr std::chrono::nanoseconds kPause = std::chrono::milliseconds(250);
// Before what somebody changed is repaired: he may be a controller that insists.
constexpr std::chrono::nanoseconds kRepairPause = std::chrono::seconds(1);
constexpr BackoffPolicy kTransient{};  // the API server is away, a conflict
constexpr BackoffPolicy kLasting{.initial = std::chrono::seconds(1), .max = std::chrono::minutes(1)};
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

}  // namespace

// Everything but what is marked otherwise belongs to the control loop.
struct Controller::Impl : std::enable_shared_from_this<Impl> {
  Impl(Executor& control_loop, kube::Api& kube_api, kube::Discovery& discovery, kube::EventRecorder& events,
       const Clock& clock, const Published<ring::Snapshot>& published, Settings configuration, const Logger& logger)
      : control(control_loop),
        api(kube_api),
        snapshots(published),
        log(logger.named("controllerring")),
        tools(new Tools{control, api, discovery, events, clock, std::move(configuration), log}) {}

  struct Work {
    std::shared_ptr<Reconciliation> run;  // under way
    bool wanted = false;                  // something changed since it began
    bool changed = false;                 // the spec did
    Executor::TimerId timer = 0;
    SteadyTime due = SteadyTime::max();  // of the timer
    std::optional<Backoff> backoff;      // while it fails
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

  void lead(bool now_leading);
  void stop();
  // Asks for a reconciliation; `changed`: of the ring itself, which ends a backoff.
  void want(const std::string& ring, bool changed);
  void forget(const std::string& ring);
  void note_trouble(const std::string& ring, const std::optional<Error>& trouble);
  void schedule(const std::string& ring, std::chrono::nanoseconds delay);

  void begin(const std::string& ring);
  void finish(const std::string& ring, const Reconciliation::Report& report);
  // Logs how it went and makes an Event of a failure, once for each new one.
  void tell(Work& work, const std::string& ring, const std::optional<Error>& error);

  void watch_configurations();
  void configuration_seen(const std::string& ring, const std::string& version, bool deleted);
  void configuration_watch_forbidden(const Error& error);

  // Constant, or with their own synchronisation:
  Executor& control;
  kube::Api& api;
  const Published<ring::Snapshot>& snapshots;
  const Logger log;
  const std::shared_ptr<Tools> tools;
  std::atomic<bool> leading = false;  // written by the control loop
  std::atomic<bool> stopped = false;

  // The control loop's:
  std::map<std::string, Work> works;      // while leading, one for each ring
  std::map<std::string, Error> troubles;  // by ring
  std::shared_ptr<kube::ListWatch> configuration_watch;
  kube::LastingRefusal configuration_refusal;
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
    const auto object = decoder_.decode(event.object);
    const std::string prefix = webhook_configuration_name("");
    if (object && object->name.starts_with(prefix)) {
      impl->post([ring = object->name.substr(prefix.size()), version = object->resource_version,
                  deleted = event.type == kube::WatchEventType::kDelete](Impl& self) {
        self.configuration_seen(ring, version, deleted);
      });
    }
  }

  void on_connection(bool watching, const std::optional<Error>& error) override {
    const auto impl = impl_.lock();
    if (impl && watching) {
      impl->post([](Impl& self) { self.configuration_refusal.granted(); });
    } else if (impl && error && error->code == ErrorCode::kForbidden) {
      impl->post([error = *error](Impl& self) { self.configuration_watch_forbidden(error); });
    }
  }

 private:
  const std::weak_ptr<Impl> impl_;
  kube::ObjectMetaDecoder decoder_;
};

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
  while (!works.empty()) {
    forget(std::string(works.begin()->first));
  }
  if (auto watch = std::exchange(configuration_watch, nullptr)) {
    watch->stop();
  }
}

void Controller::Impl::stop() {
  stopped = true;
  if (configuration_watch) {
    configuration_watch->stop();
  }
  while (!works.empty()) {
    forget(std::string(works.begin()->first));
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
    if (work->second.run) {
      work->second.run->drop();
    }
    works.erase(work);
  }
}

void Controller::Impl::note_trouble(const std::string& ring, const std::optional<Error>& trouble) {
  if (trouble) {
    troubles.insert_or_assign(ring, *trouble);
  } else if (troubles.erase(ring) == 0) {
    return;
  }
  if (works.contains(ring)) {
    want(ring, true);
  }
}

void Controller::Impl::schedule(const std::string& ring, std::chrono::nanoseconds delay) {
  Work& work = works.at(ring);
  control.cancel(work.timer);
  work.due = tools->clock.steady() + delay;
  work.timer = control.post_after(delay, [weak = weak_from_this(), ring] {
    if (const auto self = weak.lock(); self && !self->stopped) {
      self->begin(ring);
    }
  });
}

void Controller::Impl::begin(const std::string& ring) {
  const auto snapshot = snapshots.get();
  const auto found = snapshot ? snapshot->rings.find(ring) : decltype(snapshot->rings.end())();
  if (!snapshot || found == snapshot->rings.end() || found->second->deleting) {
    return;  // the garbage collection removes its webhook configuration; do not put it back
  }
  Work& work = works.at(ring);
  work.wanted = work.changed = false;
  work.seen_version.clear();
  const auto known = troubles.find(ring);
  const auto trouble = known == troubles.end() ? std::nullopt : std::optional(known->second);
  work.run = std::make_shared<Reconciliation>(tools, found->second, trouble,
                                              [weak = weak_from_this(), ring](const Reconciliation::Report& report) {
                                                if (const auto self = weak.lock(); self && !self->stopped) {
                                                  self->finish(ring, report);
                                                }
                                              });
  work.run->start();
}

void Controller::Impl::finish(const std::string& ring, const Reconciliation::Report& report) {
  Work& work = works.at(ring);
  tell(work, ring, report.error);
  work.run.reset();
  if (!report.applied_version.empty()) {
    work.applied_version = report.applied_version;
  }
  if (!report.error) {
    work.backoff.reset();
    const bool touched = !work.seen_version.empty() && work.seen_version != work.applied_version;
    schedule(ring, work.wanted ? kPause : touched ? kRepairPause : tools->settings.sync_period);
    return;
  }
  const bool lasting = is_lasting(report.error->code);
  if (!work.backoff || work.backoff_lasting != lasting) {
    work.backoff.emplace(lasting ? kLasting : kTransient);
    work.backoff_lasting = lasting;
  }
  const std::chrono::nanoseconds delay = work.backoff->next();
  schedule(ring, work.changed ? kPause : delay);
}

void Controller::Impl::tell(Work& work, const std::string& ring, const std::optional<Error>& error) {
  if (!error) {
    if (!work.succeeded || !work.told.empty()) {
      log.info("ring reconciled", {{"ring", ring}});
    }
    work.succeeded = true;
    work.told.clear();
    return;
  }
  if (work.told == error->message) {
    log.debug("cannot reconcile ring, trying again", {{"ring", ring}, {"error", error->message}});
    return;
  }
  work.told = error->message;
  log.warn("cannot reconcile ring, trying again", {{"ring", ring}, {"error", error->message}});
  if (!is_unanswered(error->code)) {
    tools->events.record(work.run->reference(), kube::EventType::kWarning, kFailed, capitalised(error->message));
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
  } else if (!work.backoff && (deleted || version != work.applied_version) &&
             work.due > tools->clock.steady() + kRepairPause) {
    log.debug("webhook configuration changed, applying it again", {{"ring", ring}});
    schedule(ring, kRepairPause);
  }
}

void Controller::Impl::configuration_watch_forbidden(const Error& error) {
  if (!configuration_refusal.refused(tools->clock.steady())) {
    return;  // the watch tries again by itself
  }
  if (auto watch = std::exchange(configuration_watch, nullptr)) {
    watch->stop();
  }
  if (!std::exchange(told_forbidden, true)) {
    log.info("not allowed to watch webhook configurations, they are repaired at each sync only",
             {{"error", error.message}});
  }
}

Controller::Controller(Executor& control, kube::Api& api, kube::Discovery& discovery, kube::EventRecorder& events,
                       const Clock& clock, const Published<ring::Snapshot>& snapshots, Settings settings,
                       const Logger& log)
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

void Controller::on_trouble(const std::string& ring, const std::optional<Error>& trouble) {
  impl_->note_trouble(ring, trouble);
}

std::size_t Controller::requests_in_flight() const {
  return impl_->tools->requests_in_flight + (impl_->leading ? 1 : 0);
}

}  // namespace sharder::controllerring
