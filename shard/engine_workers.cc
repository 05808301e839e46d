#include <algorithm>
#include <exception>
#include <utility>

#include "kube/codec/json.h"
#include "ring/names.h"
#include "shard/engine_core.h"
#include "shard/watched_object.h"

// The workers, and what a reconcile function is given: the other half of an Engine.
namespace sharder::shard {

namespace {

// What a reconcile function has thrown. When JSON is not as it expected, nlohmann names types, keys and indices, which
// the author needs. Its other errors may quote what they have read: those of the parser (1xx), of text that is not
// UTF-8 (316), of a number (406) and of JSON Patch (5xx).
std::string thrown_text(const std::exception& exception) {
  const auto* const error = dynamic_cast<const nlohmann::json::exception*>(&exception);
  const bool is_plain = error != nullptr && error->id > 200 && error->id < 500 && error->id != 316 && error->id != 406;
  return is_plain ? error->what() : exception_text(exception);
}

}  // namespace

class Engine::Core::Run final : public Reconciliation {
 public:
  Run(Core& core, const ObjectName& name, nlohmann::json object)
      : core_(core), name_(name), object_(std::move(object)), log_(core.log_.with({{"object", to_string(name)}})) {}

  const ObjectName& name() const override { return name_; }
  const nlohmann::json& object() const override { return object_; }
  std::vector<nlohmann::json> owned(const ResourceName& resource) const override {
    return core_.owned(resource, name_);
  }
  std::optional<nlohmann::json> cached(const ResourceName& resource, const ObjectName& object) const override {
    return core_.cached(resource, object);
  }
  Client& client() const override { return core_.client(); }
  const Logger& log() const override { return log_; }
  std::stop_token stop() const override { return core_.stop_.get_token(); }
  void event(EventType type, std::string_view reason, std::string_view message) const override {
    core_.record_event(object_, type, reason, message);
  }

 private:
  Core& core_;
  const ObjectName name_;
  const nlohmann::json object_;
  const Logger log_;
};

// --- from outside

void Engine::Core::start(std::chrono::nanoseconds pause) {
  if (options_.resync.count() > 0) {
    state_.resync = tools_->clock.steady() + options_.resync;
  }
  tools_->api.loop().post_after(pause, [self = shared_from_this()] {
    if (!self->stop_.stop_requested()) {
      self->resolve(0);
    }
  });
  for (unsigned i = 0; i < options_.workers; ++i) {
    workers_.emplace_back([this] { work(); });
  }
}

void Engine::Core::stop() {
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(state_.stopping, true)) {
      return;
    }
  }
  stop_.request_stop();
  changed_.notify_all();
  tools_->api.loop().post([self = shared_from_this()] {
    for (Source& source : self->sources_) {
      source.watch.reset();
    }
    if (self->acknowledgements_) {
      self->acknowledgements_->stop();
      self->acknowledgements_.reset();  // its callbacks hold this
    }
  });
}

bool Engine::Core::wait_until_idle(std::chrono::nanoseconds timeout) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, timeout, [this] { return state_.running.empty(); });
}

void Engine::Core::join() {
  workers_.clear();
}

EngineStatus Engine::Core::status() const {
  const SteadyTime now = tools_->clock.steady();
  const std::lock_guard lock(mutex_);
  EngineStatus status{.synced = state_.unsynced == 0,
                      .objects = state_.mains.size(),
                      .draining = state_.mains.draining(),
                      .depth = state_.queue.depth(),
                      .running = state_.running.size(),
                      .workers = options_.workers};
  for (const auto& [name, since] : state_.running) {
    status.unfinished += now - since;
    status.longest = std::max<std::chrono::nanoseconds>(status.longest, now - since);
  }
  return status;
}

std::vector<nlohmann::json> Engine::Core::owned(const ResourceName& resource, const ObjectName& owner) const {
  const auto source = std::ranges::find_if(sources_.begin() + 1, sources_.end(),
                                           [&](const Source& other) { return other.name == resource && !other.map; });
  if (source == sources_.end()) {
    return {};
  }
  std::unique_lock lock(mutex_);
  const auto texts = source->store.owned(owner);
  lock.unlock();
  std::vector<nlohmann::json> objects;
  objects.reserve(texts.size());
  for (const auto& text : texts) {
    objects.push_back(object_in(*source, text));
  }
  return objects;
}

std::optional<nlohmann::json> Engine::Core::cached(const ResourceName& resource, const ObjectName& object) const {
  const auto source = std::ranges::find(sources_.begin() + 1, sources_.end(), resource, &Source::name);
  if (source == sources_.end()) {
    return std::nullopt;
  }
  std::unique_lock lock(mutex_);
  const auto text = source->store.find(object);
  lock.unlock();
  return text ? std::optional(object_in(*source, text)) : std::nullopt;
}

void Engine::Core::record_event(const nlohmann::json& object, EventType type, std::string_view reason,
                                std::string_view message) {
  const ObjectName name = name_of(object);
  tools_->events.record({.api_version = kube::string_at(object, "/apiVersion"),
                         .kind = kube::string_at(object, "/kind"),
                         .object_namespace = name.object_namespace,
                         .name = name.name,
                         .uid = kube::string_at(object, "/metadata/uid"),
                         .resource_version = resource_version_of(object)},
                        type == EventType::kNormal ? kube::EventType::kNormal : kube::EventType::kWarning, reason,
                        message);
}

// --- a worker

void Engine::Core::work() {
  while (const auto work = next()) {
    metrics_.taken(work->waited);
    reconcile(*work);
  }
}

// Waits for the next object to reconcile; nullopt: the engine is stopping.
std::optional<Engine::Core::Work> Engine::Core::next() {
  std::unique_lock lock(mutex_);
  while (!state_.stopping) {
    if (state_.unsynced > 0) {
      changed_.wait(lock);
      continue;
    }
    const SteadyTime now = tools_->clock.steady();
    resync(now);
    if (auto item = state_.queue.take(now)) {
      const MainObject* const object = state_.mains.find(item->object);
      if (object == nullptr || object->drain || !tools_->valid()) {
        state_.queue.done(item->object, now);
        continue;
      }
      state_.running.emplace(item->object, now);
      return Work{.name = item->object, .object = *object, .waited = item->waited};
    }
    std::optional<SteadyTime> due = state_.queue.next_due();
    if (state_.resync) {
      due = std::min(due.value_or(*state_.resync), *state_.resync);
    }
    if (due) {
      changed_.wait_for(lock, *due - now);
    } else {
      changed_.wait(lock);
    }
  }
  return std::nullopt;
}

void Engine::Core::resync(SteadyTime now) {
  if (!state_.resync || now < *state_.resync) {
    return;
  }
  state_.resync = now + options_.resync;
  for (const ObjectName& name : state_.mains.names()) {
    state_.queue.add(name, now);
  }
}

void Engine::Core::reconcile(const Work& work) {
  const ReconcileRun run{.id = ++last_run_,
                         .resource = options_.main,
                         .object = work.name,
                         .resource_version = work.object.resource_version};
  const SteadyTime began = tools_->clock.steady();
  Run reconciliation(*this, work.name, object_in(sources_[0], work.object.text));
  if (tools_->observer) {
    tools_->observer->on_reconcile_begin(run, tools_->clock.wall());
  }
  // The Lease may have been lost since the object was taken.
  const Result<Requeue> result =
      may_work() ? call(reconciliation) : fail(ErrorCode::kCancelled, "the shard's Lease is not valid any more");
  if (tools_->observer) {
    tools_->observer->on_reconcile_end(run, tools_->clock.wall());
  }
  metrics_.reconciled(!result                     ? "error"
                      : result->after.count() > 0 ? "requeue_after"
                                                  : "success",
                      tools_->clock.steady() - began);
  if (!result && may_work()) {
    reconciliation.log().warn("reconciliation failed, it is tried again", {{"error", result.error().message}});
  }
  finish(work, result);
}

Result<Requeue> Engine::Core::call(Run& run) {
  try {
    return options_.reconcile(run);
  } catch (const std::exception& exception) {
    metrics_.threw();
    return fail(ErrorCode::kInvalid, "the reconcile function threw: " + thrown_text(exception));
  } catch (...) {
    metrics_.threw();
    return fail(ErrorCode::kInvalid, "the reconcile function threw");
  }
}

void Engine::Core::finish(const Work& work, const Result<Requeue>& result) {
  const SteadyTime now = tools_->clock.steady();
  std::optional<MainObject> draining;
  {
    const std::lock_guard lock(mutex_);
    state_.running.erase(work.name);
    state_.queue.done(work.name, now);
    const MainObject* const object = state_.mains.find(work.name);
    if (object == nullptr) {
      state_.queue.drop(work.name);
    } else if (object->drain) {
      draining = *object;
    } else if (!result) {
      state_.queue.retry(work.name, now);
    } else {
      state_.queue.forget_failures(work.name);
      if (result->after.count() > 0) {
        state_.queue.add_at(work.name, now + result->after);
      }
    }
  }
  changed_.notify_all();
  if (!result) {
    metrics_.retried();
  }
  if (draining) {
    acknowledge(work.name, *draining);
  }
}

}  // namespace sharder::shard
