#include "controllerring/controller.h"

#include <chrono>
#include <map>
#include <optional>
#include <utility>

#include "base/backoff.h"
#include "controllerring/reconciliation.h"
#include "controllerring/webhook_configuration.h"
#include "kube/json.h"
#include "kube/list_watch.h"
#include "kube/resource.h"
#include "ring/names.h"

namespace sharder::controllerring {
namespace {

using std::chrono::milliseconds;

// A server that is away comes back soon; what is wrong with a ring takes a person, or a CRD that is installed later.
constexpr BackoffPolicy kAwayPolicy{.initial = milliseconds(200), .max = milliseconds(2'000)};
constexpr BackoffPolicy kWrongPolicy{.initial = milliseconds(500), .max = milliseconds(30'000)};

bool is_away(const Error& error) {
  return error.code == ErrorCode::kUnavailable || error.code == ErrorCode::kTimeout ||
         error.code == ErrorCode::kConflict;
}

}  // namespace

// Which ring is due, and the reconciliations that are under way. All on the control loop but requests_in_flight().
class Controller::Queue : public std::enable_shared_from_this<Queue> {
 public:
  Queue(Executor& control, kube::Api& api, kube::Discovery& discovery, kube::EventRecorder& events, const Clock& clock,
        const Published<ring::Snapshot>& snapshots, Settings settings, Logger log)
      : tools_(new Tools{control, api, discovery, events, clock, snapshots, std::move(settings), std::move(log)}) {}

  // Reconciles a ring now, or once more when it is under way.
  void reconcile(const std::string& name);
  void forget(const std::string& name);
  void set_leading(bool leading);
  void close();
  // Somebody changed, made or deleted the webhook configuration of a ring.
  void on_webhook_configuration(const std::string& ring) {
    if (rings_.contains(ring)) {
      reconcile(ring);
    }
  }
  std::size_t requests_in_flight() const { return tools_->requests_in_flight.load(); }
  Executor& control() { return tools_->control; }
  Logger& log() { return tools_->log; }
  void stop_watching();

 private:
  struct Ring {
    std::shared_ptr<Reconciliation> running;
    bool again = false;  // something changed meanwhile
    Executor::TimerId timer = 0;
    Backoff away{kAwayPolicy};
    Backoff wrong{kWrongPolicy};
    std::string failure;  // of the last time, "" when it went well
  };

  void on_done(const std::string& name, const std::optional<Error>& error);
  std::chrono::nanoseconds pause_after(const std::string& name, Ring& ring, const std::optional<Error>& error);
  void drop_all();
  void start_watching();

  const std::shared_ptr<Tools> tools_;
  bool leading_ = false;
  std::map<std::string, Ring> rings_;  // those that exist, while leading
  std::shared_ptr<kube::ListWatch> watch_;
};

namespace {

// Tells the queue which ring's webhook configuration changed, but for changes that are our own apply's echo: an apply
// that changes nothing makes no event, so this comes to rest by itself.
class WebhookConfigurationSink final : public kube::WatchSink {
 public:
  WebhookConfigurationSink(Executor& control, std::function<void(const std::string&)> changed,
                           std::function<void(const Error&)> forbidden)
      : control_(control), changed_(std::move(changed)), forbidden_(std::move(forbidden)) {}

  void on_event(const kube::WatchEvent& event) override {
    // What a list shows was applied when leading began, or is about to be.
    if (event.type != kube::WatchEventType::kApply && event.type != kube::WatchEventType::kDelete) {
      return;
    }
    const auto object = kube::parse_json(event.object);
    if (!object) {
      return;
    }
    const std::string name = kube::string_at(*object, "/metadata/name");
    const std::string prefix = webhook_configuration_name("");
    if (name.starts_with(prefix)) {
      control_.post([changed = changed_, ring = name.substr(prefix.size())] { changed(ring); });
    }
  }

  void on_connection(bool /*watching*/, const std::optional<Error>& error) override {
    if (error && error->code == ErrorCode::kForbidden) {
      control_.post([forbidden = forbidden_, error = *error] { forbidden(error); });
    }
  }

 private:
  Executor& control_;
  const std::function<void(const std::string&)> changed_;
  const std::function<void(const Error&)> forbidden_;
};

}  // namespace

void Controller::Queue::reconcile(const std::string& name) {
  if (!leading_) {
    return;
  }
  const auto snapshot = tools_->snapshots.get();
  const auto found = snapshot ? snapshot->rings.find(name) : decltype(snapshot->rings.end()){};
  if (!snapshot || found == snapshot->rings.end() || found->second->deleting) {
    forget(name);
    return;
  }
  Ring& ring = rings_[name];
  if (ring.running) {
    ring.again = true;
    return;
  }
  tools_->control.cancel(std::exchange(ring.timer, 0));
  ring.again = false;
  ring.running =
      Reconciliation::start(tools_, found->second, [weak = weak_from_this(), name](std::optional<Error> error) {
        if (const auto self = weak.lock()) {
          self->on_done(name, error);
        }
      });
}

void Controller::Queue::on_done(const std::string& name, const std::optional<Error>& error) {
  Ring& ring = rings_.at(name);
  ring.running.reset();
  const std::chrono::nanoseconds pause = pause_after(name, ring, error);
  if (ring.again) {
    reconcile(name);
    return;
  }
  ring.timer = tools_->control.post_after(pause, [weak = weak_from_this(), name] {
    if (const auto self = weak.lock()) {
      self->rings_.at(name).timer = 0;
      self->reconcile(name);
    }
  });
}

std::chrono::nanoseconds Controller::Queue::pause_after(const std::string& name, Ring& ring,
                                                        const std::optional<Error>& error) {
  if (!error) {
    if (!std::exchange(ring.failure, "").empty()) {
      tools_->log.info("ring is reconciled again", {{"ring", name}});
    }
    ring.away.reset();
    ring.wrong.reset();
    return tools_->settings.sync_period;
  }
  if (ring.failure != error->message) {
    ring.failure = error->message;
    tools_->log.warn("ring is not reconciled, trying again", {{"ring", name}, {"error", error->message}});
  }
  return is_away(*error) ? ring.away.next() : ring.wrong.next();
}

void Controller::Queue::forget(const std::string& name) {
  if (const auto found = rings_.find(name); found != rings_.end()) {
    tools_->control.cancel(found->second.timer);
    if (found->second.running) {
      found->second.running->drop();
    }
    rings_.erase(found);
  }
}

void Controller::Queue::set_leading(bool leading) {
  if (leading == leading_) {
    return;
  }
  leading_ = leading;
  if (!leading) {
    drop_all();
    return;
  }
  if (const auto snapshot = tools_->snapshots.get()) {
    for (const auto& [name, ring] : snapshot->rings) {
      reconcile(name);
    }
  }
  start_watching();
}

void Controller::Queue::drop_all() {
  stop_watching();
  while (!rings_.empty()) {
    forget(std::string(rings_.begin()->first));
  }
}

void Controller::Queue::close() {
  leading_ = false;
  drop_all();
}

void Controller::Queue::start_watching() {
  const auto weak = weak_from_this();
  auto sink = std::make_shared<WebhookConfigurationSink>(
      tools_->control,
      [weak](const std::string& ring) {
        if (const auto self = weak.lock()) {
          self->on_webhook_configuration(ring);
        }
      },
      [weak](const Error& error) {
        if (const auto self = weak.lock(); self && self->watch_) {
          self->log().info("may not watch webhook configurations, they are checked at each sync only",
                           {{"error", error.message}});
          self->stop_watching();
        }
      });
  watch_ = kube::ListWatch::start(tools_->api,
                                  {.resource = kube::kMutatingWebhookConfigurations,
                                   .label_selector = std::string(ring::kRingLabel),
                                   .metadata_only = true},
                                  std::move(sink), tools_->log);
}

void Controller::Queue::stop_watching() {
  if (watch_) {
    watch_->stop();
    watch_.reset();
  }
}

Controller::Controller(Executor& control, kube::Api& api, kube::Discovery& discovery, kube::EventRecorder& events,
                       const Clock& clock, const Published<ring::Snapshot>& snapshots, Settings settings, Logger log)
    : queue_(std::make_shared<Queue>(control, api, discovery, events, clock, snapshots, std::move(settings),
                                     std::move(log))) {}

Controller::~Controller() {
  queue_->close();
}

void Controller::on_ring_added(const std::string& ring) {
  queue_->reconcile(ring);
}
void Controller::on_ring_changed(const std::string& ring) {
  queue_->reconcile(ring);
}
void Controller::on_ring_removed(const std::string& ring) {
  queue_->forget(ring);
}
void Controller::on_shards_changed(const std::string& ring) {
  queue_->reconcile(ring);
}
void Controller::on_leading(bool leading) {
  queue_->set_leading(leading);
}

std::size_t Controller::requests_in_flight() const {
  return queue_->requests_in_flight();
}

}  // namespace sharder::controllerring
