#include <utility>

#include "ring/names.h"
#include "shard/engine_core.h"
#include "shard/watched_object.h"

// What the watches show, and what the API server answers: the API loop's half of an Engine.
namespace sharder::shard {

namespace {

std::string joined(const std::string& one, const std::string& other) {
  return one.empty() || other.empty() ? one + other : one + "," + other;
}

}  // namespace

class Engine::Core::Sink final : public kube::WatchSink {
 public:
  Sink(std::shared_ptr<Core> core, std::size_t index) : core_(std::move(core)), index_(index) {}

  void on_event(const kube::WatchEvent& event) override { core_->on_event(index_, event); }
  void on_connection(bool, const std::optional<Error>&) override {}  // the ListWatch logs it

 private:
  const std::shared_ptr<Core> core_;
  const std::size_t index_;
};

Engine::Core::Core(std::shared_ptr<const EngineTools> tools, ControllerOptions options, const Logger& log)
    : tools_(std::move(tools)),
      shard_label_(ring::shard_label(tools_->ring)),
      drain_label_(ring::drain_label(tools_->ring)),
      options_(std::move(options)),
      log_(log.with({{"controller", options_.name}})),
      metrics_(tools_->registry, options_.name),
      state_(options_) {
  const std::string mine = shard_label_ + "=" + tools_->shard;
  sources_.push_back({.name = options_.main,
                      .object_namespace = options_.object_namespace,
                      .label_selector = mine,
                      .metadata_only = options_.metadata_only,
                      .predicate = options_.predicate});
  for (const Controlled& controlled : options_.controlled) {
    sources_.push_back({.name = controlled.resource,
                        .object_namespace = options_.object_namespace,
                        .label_selector = mine,
                        .metadata_only = controlled.metadata_only,
                        .predicate = controlled.predicate});
  }
  for (const Other& other : options_.others) {
    sources_.push_back({.name = other.resource,
                        .object_namespace = other.object_namespace,
                        .label_selector = joined(other.by_shard_label ? mine : "", other.label_selector),
                        .metadata_only = other.metadata_only,
                        .predicate = other.predicate,
                        .map = other.map});
  }
  state_.unsynced = sources_.size();
}

// The main resource first: owners of the others are recognised by its kind.
void Engine::Core::resolve(std::size_t index) {
  const ResourceName& name = sources_[index].name;
  tools_->discovery.resolve(name.group, name.plural, [self = shared_from_this(), index](Result<kube::Resource> found) {
    if (self->stop_.stop_requested()) {
      return;
    }
    const SteadyTime now = self->tools_->clock.steady();
    const std::string resource = to_string(self->sources_[index].name);
    if (!found) {
      const kube::Retries::Failure failure = self->lookups_.failed(found.error(), now);
      if (failure.is_news) {
        self->log_.warn("a resource cannot be looked up, it is tried again",
                        {{"resource", resource}, {"error", found.error().message}});
      }
      self->tools_->api.loop().post_after(failure.pause, [self, index] { self->resolve(index); });
      return;
    }
    if (self->lookups_.succeeded(now)) {
      self->log_.info("a resource can be looked up again", {{"resource", resource}});
    }
    self->sources_[index].resource = *std::move(found);
    self->begin_watch(index);
    if (index + 1 < self->sources_.size()) {
      self->resolve(index + 1);
    }
  });
}

void Engine::Core::begin_watch(std::size_t index) {
  Source& source = sources_[index];
  if (index == 0) {
    acknowledgements_ = std::make_shared<Acknowledgements>(
        tools_->api, tools_->clock, source.resource, tools_->ring, tools_->shard, tools_->field_manager,
        Acknowledgements::Callbacks{
            .on_acknowledged = [self = shared_from_this()] { self->metrics_.acknowledged(); },
            .may_write = [self = shared_from_this()] { return self->may_work(); },
            .on_undone = [self = shared_from_this()](const ObjectName& name) { self->acknowledgement_undone(name); }},
        log_);
  }
  source.watch = kube::ListWatch::start(tools_->api, tools_->clock,
                                        {.resource = source.resource,
                                         .object_namespace = source.object_namespace,
                                         .label_selector = source.label_selector,
                                         .metadata_only = source.metadata_only,
                                         .compact = false},
                                        std::make_shared<Sink>(shared_from_this(), index), log_);
}

void Engine::Core::on_event(std::size_t index, const kube::WatchEvent& event) {
  if (stop_.stop_requested()) {
    return;
  }
  if (index == 0) {
    on_main(event);
  } else {
    on_secondary(index, event);
  }
}

// --- main objects

void Engine::Core::on_main(const kube::WatchEvent& event) {
  switch (event.type) {
    case kube::WatchEventType::kInit: {
      const std::lock_guard lock(mutex_);
      state_.mains.begin_list();
      return;
    }
    case kube::WatchEventType::kInitApply:
    case kube::WatchEventType::kApply:
      show_main(event.object);
      return;
    case kube::WatchEventType::kInitDone:
      main_list_done();
      return;
    case kube::WatchEventType::kDelete:
      if (const auto object = reader_.read_meta(event.object)) {
        main_gone(name_of(*object));
      }
      return;
  }
}

void Engine::Core::show_main(std::string_view text) {
  const Source& source = sources_[0];
  const auto object = read_shown(source, text);
  if (!object) {
    return;
  }
  const ObjectName name = name_of(object->meta);
  if (object->meta.label(shard_label_) != tools_->shard) {
    main_gone(name);
    return;
  }
  const MainObject shown{.resource_version = object->meta.resource_version,
                         .drain = std::optional<std::string>(object->meta.label(drain_label_)),
                         .text = source.packer->pack(object->text)};
  PackedText before;
  auto change = MainObjects::Change::kNone;
  bool is_running = false;
  {
    const std::lock_guard lock(mutex_);
    change = state_.mains.show(name, shown, &before);
    is_running = state_.queue.is_processing(name);
    if (change == MainObjects::Change::kDraining) {
      state_.queue.drop(name);
    }
  }
  switch (change) {
    case MainObjects::Change::kNone:
      return;
    case MainObjects::Change::kOurs:
      acknowledgements_->forget(name);
      if (matters(source, before, object->text)) {
        enqueue(name);
      }
      return;
    case MainObjects::Change::kDraining:
      if (!is_running) {
        acknowledge(name, shown);
      }
      return;
  }
}

void Engine::Core::main_gone(const ObjectName& name) {
  {
    const std::lock_guard lock(mutex_);
    state_.mains.gone(name);
    state_.queue.drop(name);
  }
  acknowledgements_->forget(name);
}

void Engine::Core::main_list_done() {
  std::vector<ObjectName> gone;
  {
    const std::lock_guard lock(mutex_);
    gone = state_.mains.end_list();
    for (const ObjectName& name : gone) {
      state_.queue.drop(name);
    }
  }
  for (const ObjectName& name : gone) {
    acknowledgements_->forget(name);
  }
  source_synced(sources_[0]);
}

void Engine::Core::acknowledge(const ObjectName& name, const MainObject& object) {
  tools_->api.loop().post([self = shared_from_this(), name, object] {
    if (!self->stop_.stop_requested()) {
      self->acknowledgements_->acknowledge(name, object.resource_version, *object.drain);
    }
  });
}

void Engine::Core::acknowledgement_undone(const ObjectName& name) {
  PackedText text;
  {
    const std::lock_guard lock(mutex_);
    if (const MainObject* const object = state_.mains.find(name)) {
      text = object->text;
    }
  }
  if (text) {
    record_event(object_in(sources_[0], text), EventType::kWarning, "LabelsDoNotLast",
                 "The shard " + tools_->shard +
                     " acknowledges the drain of this object again and again: something else puts its labels back");
  }
}

// --- controlled and other resources

void Engine::Core::on_secondary(std::size_t index, const kube::WatchEvent& event) {
  Source& source = sources_[index];
  switch (event.type) {
    case kube::WatchEventType::kInit: {
      const std::lock_guard lock(mutex_);
      source.store.begin_list();
      return;
    }
    case kube::WatchEventType::kInitApply:
    case kube::WatchEventType::kApply:
      show_secondary(source, event.object);
      return;
    case kube::WatchEventType::kInitDone: {
      std::vector<ObjectStore::Object> gone;
      {
        const std::lock_guard lock(mutex_);
        gone = source.store.end_list();
      }
      for (const auto& object : gone) {
        secondary_gone(source, object);
      }
      source_synced(source);
      return;
    }
    case kube::WatchEventType::kDelete:
      if (const auto object = reader_.read_meta(event.object)) {
        ObjectStore::Object gone;
        {
          const std::lock_guard lock(mutex_);
          gone = source.store.gone(name_of(*object));
        }
        secondary_gone(source, gone);
      }
      return;
  }
}

void Engine::Core::show_secondary(Source& source, std::string_view text) {
  const auto object = read_shown(source, text);
  if (!object) {
    return;
  }
  const ObjectStore::Object shown{.text = source.packer->pack(object->text),
                                  .owner = controller_of(object->meta, sources_[0].resource)};
  ObjectStore::Object before;
  {
    const std::lock_guard lock(mutex_);
    before = source.store.show(name_of(object->meta), shown);
  }
  const bool is_known = before.text && source.packer->unpack(before.text) == object->text;
  if (is_known || !matters(source, before.text, object->text)) {
    return;  // a list shows it again, or the change is of no interest
  }
  // At once: else a worker may take an owner between the two, and reconcile it twice.
  std::vector<ObjectName> names = affected(source, before);
  for (ObjectName& name : affected(source, shown)) {
    names.push_back(std::move(name));
  }
  enqueue(names);
}

void Engine::Core::secondary_gone(Source& source, const ObjectStore::Object& object) {
  enqueue(affected(source, object));
}

void Engine::Core::source_synced(Source& source) {
  const std::lock_guard lock(mutex_);
  if (!std::exchange(source.synced, true) && --state_.unsynced == 0) {
    log_.info("caches are complete", {{"objects", state_.mains.size()}});
    changed_.notify_all();
  }
}

std::optional<WatchedObject> Engine::Core::read_shown(const Source& source, std::string_view text) {
  auto object = reader_.read(text);
  if (!object) {
    log_.warn("an object cannot be read, it is left out",
              {{"resource", to_string(source.name)}, {"error", object.error().message}});
    return std::nullopt;
  }
  return *std::move(object);
}

// What the source's predicate says of the change. `before`: null for a new object.
bool Engine::Core::matters(const Source& source, const PackedText& before, std::string_view now) {
  if (!source.predicate) {
    return true;
  }
  const auto was = before ? std::optional(object_in(source, before)) : std::nullopt;
  return source.predicate(was ? &*was : nullptr, *read_object(now, source.resource));
}

// The object in a text of the source's cache, which was an object with a name when it came.
nlohmann::json Engine::Core::object_in(const Source& source, const PackedText& text) {
  return *read_object(source.packer->unpack(text), source.resource);
}

// The main objects to which a change of `object` matters.
std::vector<ObjectName> Engine::Core::affected(const Source& source, const ObjectStore::Object& object) const {
  if (!object.text) {
    return {};
  }
  if (!source.map) {
    return object.owner ? std::vector{*object.owner} : std::vector<ObjectName>();
  }
  return source.map(object_in(source, object.text));
}

void Engine::Core::enqueue(const ObjectName& name) {
  enqueue(std::vector{name});
}

void Engine::Core::enqueue(const std::vector<ObjectName>& names) {
  const SteadyTime now = tools_->clock.steady();
  std::size_t added = 0;
  {
    const std::lock_guard lock(mutex_);
    for (const ObjectName& name : names) {
      const MainObject* const object = state_.mains.find(name);
      if (object != nullptr && !object->drain) {
        state_.queue.add(name, now);
        ++added;
      }
    }
  }
  for (std::size_t i = 0; i < added; ++i) {
    metrics_.added();
    changed_.notify_one();
  }
}

}  // namespace sharder::shard
