#include "rebalancer/ring_worker.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "ring/names.h"

namespace sharder::rebalancer {

namespace {

// Shards often come in numbers: after one change the next ones are gathered.
constexpr std::chrono::milliseconds kGather{200};
// A watch that stays open for so long works.
constexpr std::chrono::seconds kSettled{5};
// Between orphan watches while many orphans wait.
constexpr std::chrono::seconds kCrowded{5};

// The request line is too long for the server, or for a proxy before it.
bool is_request_too_large(const Error& error) {
  return error.http_status == 414 || error.http_status == 431;
}

// Not permitted, or the resource has no watch (or no list either, which the passes will meet).
bool is_watch_refused(const Error& error) {
  return error.code == ErrorCode::kForbidden || error.http_status == 405;
}

}  // namespace

RingWorker::RingWorker(std::shared_ptr<Tools> tools, const Namespaces& namespaces,
                       std::shared_ptr<const ring::RingEntry> entry)
    : tools_(std::move(tools)),
      namespaces_(namespaces),
      view_(std::move(entry), namespaces, tools_->settings.namespace_selector),
      log_(tools_->log.with({{"ring", view_.entry()->spec().name}})),
      refresh_timer_(tools_->control),
      second_pass_timer_(tools_->control),
      sync_timer_(tools_->control),
      metrics_timer_(tools_->control) {
  const ring::ControllerRing& spec = view_.entry()->spec();
  std::vector<std::shared_ptr<ResourceMetrics>> metrics;
  for (const Source& source : view_.sources()) {
    Nets& nets = nets_.emplace_back();
    nets.metrics = metrics.emplace_back(tools_->metrics.of(spec.name, source.name));
    if (source.role == ring::Role::kMain) {
      nets.drains = std::make_unique<DrainCounter>(tools_, view_.entry()->drain_label(), nets.metrics);
    }
  }
  mover_ = std::make_unique<Mover>(
      tools_, view_, std::move(metrics), kube::reference_to(kube::kControllerRings, spec.name, spec.uid),
      Mover::Callbacks{.on_room = [this](std::uint32_t source) { room_again(source); },
                       .on_trouble = [this](std::uint32_t source,
                                            const std::optional<Error>& error) { patches_trouble(source, error); }});
  passes_ = std::make_unique<Passes>(
      tools_, view_,
      Passes::Callbacks{
          .consider = [this](std::uint32_t source, const kube::ObjectMeta& object) { return consider(source, object); },
          .has_room = [this](std::uint32_t source) { return mover_->has_room(source); },
          .carried_out = [this](std::uint32_t source) { return mover_->carried_out(source); },
          .on_trouble = [this](std::uint32_t source,
                               const std::optional<Error>& error) { lists_trouble(source, error); },
          .on_begin = [this](std::uint32_t source) { pass_begins(source); },
          .on_end = [this](std::uint32_t source) { pass_ended(source); },
          .on_idle = [this](std::size_t objects) { passes_idle(objects); }});
  for (std::uint32_t source = 0; source < nets_.size(); ++source) {
    resolve(source, kube::Discovery::kMaxAge);
  }
  update_metrics();
}

RingWorker::~RingWorker() {
  for (const Nets& nets : nets_) {
    nets.metrics->remove_gauges();
  }
  for (const auto& [what, trouble] : troubles_) {
    tools_->report_trouble(view_.entry()->spec().name, what, std::nullopt);
  }
}

// --- what the sources are

void RingWorker::resolve(std::uint32_t source, std::chrono::nanoseconds max_age) {
  if (std::exchange(nets_[source].resolving, true)) {
    return;
  }
  const ring::GroupResource& name = view_.sources()[source].name;
  tools_->discovery.resolve(
      name.group, name.resource,
      lifetime_.bind_on(tools_->control,
                        [this, source](Result<kube::Resource> resource) { resolved(source, std::move(resource)); }),
      max_age);
}

void RingWorker::resolved(std::uint32_t source, Result<kube::Resource> resource) {
  Nets& nets = nets_[source];
  if (!resource) {
    // The controller of the rings says so in the ring's status.
    nets.unserved = nets.unserved || resource.error().code == ErrorCode::kNotFound;
    tools_->control.post_after(nets.discovery_backoff.next(), lifetime_.bind([this, source] {
      nets_[source].resolving = false;
      resolve(source, kube::Discovery::kMinAge);
    }));
    return;
  }
  nets.resolving = false;
  nets.discovery_backoff.reset();
  auto& known = view_.sources()[source].resource;
  if (std::exchange(nets.unserved, false) || known != *resource) {
    known = std::move(*resource);
    begin(source);
  }
}

bool RingWorker::ready(std::uint32_t source) const {
  return view_.sources()[source].resource && (namespaces_.synced() || !view_.needs_namespaces());
}

void RingWorker::begin(std::uint32_t source) {
  if (!ready(source)) {
    return;
  }
  if (const auto& drains = nets_[source].drains) {
    drains->begin(*view_.sources()[source].resource);
  }
  watch_orphans(source);
  if (!view_.entry()->ring().shards().empty()) {
    passes_->want({.source = source, .object_namespace = ""});
  }
}

// --- what happens

void RingWorker::members_changed(std::shared_ptr<const ring::RingEntry> entry) {
  if (entry == view_.entry()) {
    return;
  }
  const auto& before = view_.entry()->ring().shards();
  const auto& after = entry->ring().shards();
  // A shard that joined has to get its keys from wherever they are. What a shard leaves behind the orphan watch shows.
  joined_ = joined_ || !std::ranges::includes(before, after);
  view_.set_entry(std::move(entry));
  mover_->ring_changed();
  if (!refresh_timer_.is_set()) {
    const SteadyTime now = tools_->clock.steady();
    refresh_timer_.set(std::max(last_refresh_ + kGather, now) - now, [this] { refresh(); });
  }
}

void RingWorker::refresh() {
  last_refresh_ = tools_->clock.steady();
  for (std::uint32_t source = 0; source < nets_.size(); ++source) {
    watch_orphans(source);
  }
  if (view_.entry()->ring().shards().empty()) {
    passes_->clear();
    return;
  }
  const bool joined = std::exchange(joined_, false);
  for (std::uint32_t source = 0; source < nets_.size(); ++source) {
    if (ready(source) && (joined || nets_[source].needs_passes())) {
      passes_->want({.source = source, .object_namespace = ""});
    }
  }
  second_pass_later();
}

void RingWorker::pass_over_all() {
  if (view_.entry()->ring().shards().empty()) {
    return;
  }
  for (std::uint32_t source = 0; source < nets_.size(); ++source) {
    if (ready(source)) {
      passes_->want({.source = source, .object_namespace = ""});
    }
  }
}

// After the last change; while the members change all the time, now and then.
void RingWorker::second_pass_later() {
  const SteadyTime now = tools_->clock.steady();
  if (!second_pass_timer_.is_set()) {
    changing_since_ = now;
  }
  const SteadyTime due = std::min(last_refresh_ + kSecondPass, changing_since_ + kSecondPassAtLatest);
  second_pass_timer_.set(due - now, [this] { second_pass(); });
}

void RingWorker::second_pass() {
  if (tools_->clock.steady() < last_refresh_ + kSecondPass) {
    second_pass_later();
  }
  pass_over_all();
}

void RingWorker::namespaces_synced() {
  for (std::uint32_t source = 0; source < nets_.size(); ++source) {
    if (view_.needs_namespaces()) {
      begin(source);
    }
  }
}

void RingWorker::namespace_changed(const std::string& name, const LabelMap* before, const LabelMap& labels) {
  const bool was_selected = before != nullptr && view_.selects(*before);
  if (!view_.selects(labels)) {
    if (was_selected) {
      mover_->forget_namespace(name);
    }
    return;
  }
  if (was_selected || view_.entry()->ring().shards().empty()) {
    return;
  }
  for (std::uint32_t source = 0; source < nets_.size(); ++source) {
    if (ready(source) && view_.sources()[source].resource->namespaced) {
      passes_->want({.source = source, .object_namespace = name});
    }
  }
}

void RingWorker::namespaces_trouble(const std::optional<Error>& error) {
  if (!error || view_.needs_namespaces()) {
    set_trouble("watch namespaces", error);
  }
}

void RingWorker::server_is_back() {
  for (std::uint32_t source = 0; source < nets_.size(); ++source) {
    if (ready(source) && nets_[source].failure.pending()) {
      watch_orphans(source);  // unless it was given up
      passes_->want({.source = source, .object_namespace = ""});
    }
  }
}

void RingWorker::passes_idle(std::size_t objects) {
  if (objects > 0) {
    log_.info("pass ended", {{"objects", objects}});
  }
  if (!sync_timer_.is_set()) {
    sync_timer_.set(tools_->settings.sync_period, [this] { sync(); });
  }
}

void RingWorker::sync() {
  for (std::uint32_t source = 0; source < nets_.size(); ++source) {
    if (!ready(source)) {
      continue;
    }
    // Where it was not allowed, it perhaps is by now.
    if (const auto& drains = nets_[source].drains) {
      drains->sync();
    }
    if (std::exchange(nets_[source].watch_refused, false)) {
      watch_orphans(source);
    }
  }
  pass_over_all();
}

void RingWorker::pass_begins(std::uint32_t source) {
  if (const auto& drains = nets_[source].drains) {
    drains->pass_begins();
  }
  nets_[source].patch_forbidden = false;
  mover_->pass_begins(source);
}

void RingWorker::pass_ended(std::uint32_t source) {
  if (const auto& drains = nets_[source].drains) {
    drains->pass_ended();
  }
  mover_->pass_ended(source);
}

bool RingWorker::consider(std::uint32_t source, const kube::ObjectMeta& object) {
  if (const auto& drains = nets_[source].drains; drains && object.label(view_.entry()->drain_label())) {
    drains->seen_in_pass();
  }
  return mover_->consider(source, object);
}

// --- the orphan watch

std::string RingWorker::orphan_selector(const Nets& nets) const {
  const std::string& label = view_.entry()->shard_label();
  if (nets.selector == OrphanSelector::kAbsent) {
    return "!" + label;
  }
  std::string selector = label + " notin (";
  for (const std::string& shard : view_.entry()->ring().shards()) {
    selector += shard;
    selector += ',';
  }
  selector.back() = ')';
  return selector;
}

void RingWorker::watch_orphans(std::uint32_t source) {
  Nets& nets = nets_[source];
  look_at_watch(source);
  nets.orphans.reset();
  nets.watching.reset();
  nets.orphans_cut = false;
  nets.orphans_listed = false;
  if (!ready(source) || nets.watch_refused || view_.entry()->ring().shards().empty()) {
    return;
  }
  nets.orphans = std::make_unique<ObjectWatch>(
      tools_, *view_.sources()[source].resource, orphan_selector(nets), true,
      ObjectWatch::Callbacks{
          .on_objects = [this, source](const std::vector<SeenObject>& objects) { orphans_seen(source, objects); },
          .on_connection = [this, source](
                               bool watching,
                               const std::optional<Error>& error) { orphan_connection(source, watching, error); },
          .on_overflow = [this, source] { cut_orphans(source); }});
}

void RingWorker::orphans_seen(std::uint32_t source, const std::vector<SeenObject>& objects) {
  for (const SeenObject& seen : objects) {
    switch (seen.type) {
      case kube::WatchEventType::kInitApply:
      case kube::WatchEventType::kApply:
        if (!mover_->consider(source, seen.object)) {
          cut_orphans(source);
          return;
        }
        break;
      case kube::WatchEventType::kDelete:
        mover_->retract(source, seen.object);
        break;
      case kube::WatchEventType::kInitDone:
        nets_[source].cut_backoff.reset();
        nets_[source].orphans_listed = true;
        if (mover_->has_many_orphans(source)) {
          watch_works(source);
          // Else each of our own moves would be shown once more, as an object that is an orphan no more. If there is no
          // room soon, it looks anew: others may have come meanwhile.
          cut_orphans(source);
          watch_orphans_later(source, kCrowded);
          return;
        }
        break;
      case kube::WatchEventType::kInit:
        if (nets_[source].orphans_listed) {
          mover_->lists_anew();
        }
        break;
    }
  }
}

void RingWorker::orphan_connection(std::uint32_t source, bool watching, const std::optional<Error>& error) {
  Nets& nets = nets_[source];
  look_at_watch(source);
  nets.watching = watching ? std::optional(tools_->clock.steady()) : std::nullopt;
  if (error && is_request_too_large(*error) && nets.selector == OrphanSelector::kNotIn) {
    log_.info("too many shards for a selector, objects of dead shards are found by passes only",
              {{"resource", to_string(view_.sources()[source].name)}});
    nets.selector = OrphanSelector::kAbsent;
    watch_orphans(source);
    passes_->want({.source = source, .object_namespace = ""});
  } else if (error) {
    orphans_failed(source, *error);
  }
}

// The watch tries again by itself.
void RingWorker::orphans_failed(std::uint32_t source, const Error& error) {
  Nets& nets = nets_[source];
  if (error.code == ErrorCode::kNotFound) {
    resolve(source, kube::Discovery::kMinAge);  // perhaps in another version
  }
  const bool can_do_without = is_watch_refused(error);
  if (can_do_without && !nets.failure.pending()) {
    passes_->want({.source = source, .object_namespace = ""});  // in its place
  }
  const bool tell = nets.failure.failed(error, tools_->clock.steady());
  if (can_do_without && nets.failure.lasts()) {
    give_up_watch(source, error);
  } else if (tell) {
    set_trouble(source, "watch", error);
  }
}

void RingWorker::look_at_watch(std::uint32_t source) {
  const auto& watching = nets_[source].watching;
  if (watching && tools_->clock.steady() - *watching >= kSettled) {
    watch_works(source);
  }
}

void RingWorker::watch_works(std::uint32_t source) {
  nets_[source].failure.succeeded(tools_->clock.steady());
  set_trouble(source, "watch", std::nullopt);
}

void RingWorker::give_up_watch(std::uint32_t source, const Error& error) {
  Nets& nets = nets_[source];
  nets.orphans.reset();
  nets.watch_refused = true;
  set_trouble(source, "watch", std::nullopt);
  if (!std::exchange(nets.watch_told, true)) {
    log_.warn("not allowed to watch a resource, its objects are found by passes only",
              {{"resource", to_string(view_.sources()[source].name)}, {"error", error.message}});
  }
}

void RingWorker::cut_orphans(std::uint32_t source) {
  nets_[source].orphans.reset();
  nets_[source].orphans_cut = true;
  if (mover_->has_room(source)) {
    watch_orphans_later(source, nets_[source].cut_backoff.next());  // it may bring too much again
  }
}

void RingWorker::watch_orphans_later(std::uint32_t source, std::chrono::nanoseconds delay) {
  tools_->control.post_after(delay, lifetime_.bind([this, source] {
    if (nets_[source].orphans_cut) {
      watch_orphans(source);
    }
  }));
}

void RingWorker::room_again(std::uint32_t source) {
  passes_->resume();
  if (nets_[source].orphans_cut && !nets_[source].patch_forbidden) {
    watch_orphans(source);
  }
}

void RingWorker::lists_trouble(std::uint32_t source, const std::optional<Error>& error) {
  set_trouble(source, "list", error);
  Nets& nets = nets_[source];
  if (error && error->code == ErrorCode::kNotFound) {
    resolve(source, kube::Discovery::kMinAge);  // perhaps in another version
  } else if (!error && nets.failure.pending()) {
    nets.watch_refused = false;
    watch_orphans(source);  // what kept it from being listed may have kept it from being watched
  }
}

void RingWorker::patches_trouble(std::uint32_t source, const std::optional<Error>& error) {
  Nets& nets = nets_[source];
  set_trouble(source, "patch", error);
  if (error && error->code != ErrorCode::kForbidden) {
    return;  // they are tried again, one by one
  }
  if (!error) {
    nets.patch_forbidden = false;
    nets.patch_backoff.reset();
    if (nets.orphans_cut) {
      watch_orphans_later(source, nets.cut_backoff.next());
    }
  } else if (!std::exchange(nets.patch_forbidden, true)) {
    // A hundred are under way, and each is refused. The moves that were dropped are found again.
    passes_->want({.source = source, .object_namespace = ""}, nets.patch_backoff.next());
  }
}

// --- what is told

void RingWorker::set_trouble(std::uint32_t source, const std::string& verb, const std::optional<Error>& error) {
  set_trouble(verb + " " + to_string(view_.sources()[source].name), error);
}

void RingWorker::set_trouble(const std::string& what, const std::optional<Error>& error) {
  const auto known = troubles_.find(what);
  const bool is_known = known == troubles_.end() ? !error : (error && kube::is_alike(known->second, *error));
  if (is_known) {
    return;
  }
  std::optional<Error> trouble = error;
  if (trouble) {
    trouble->message.insert(0, (trouble->code == ErrorCode::kForbidden ? "not allowed to " : "cannot ") + what + ": ");
    troubles_.insert_or_assign(what, *trouble);
  } else {
    troubles_.erase(known);
  }
  tools_->report_trouble(view_.entry()->spec().name, what, trouble);
}

void RingWorker::update_metrics() {
  mover_->update_metrics();
  for (std::uint32_t source = 0; source < nets_.size(); ++source) {
    look_at_watch(source);
    if (const auto& drains = nets_[source].drains) {
      drains->look(mover_->carried_out(source));
    }
  }
  metrics_timer_.set(DrainCounter::kPeriod, [this] { update_metrics(); });
}

}  // namespace sharder::rebalancer
