#include "rebalancer/resource_worker.h"

#include <chrono>
#include <string>
#include <utility>

namespace sharder::rebalancer {

namespace {

// After a patch was permitted that was not before: only those in some namespaces may be.
constexpr std::chrono::seconds kPermittedPause{1};

}  // namespace

ResourceWorker::ResourceWorker(std::shared_ptr<Tools> tools, RingParts ring, std::uint32_t index,
                               const ring::GroupResource& name)
    : Source(index, name, ring.view.entry()->role(name.group, name.resource),
             tools->metrics.of(ring.view.entry()->spec().name, name),
             ResourcePatches(tools, ring.view.reference(), to_string(name),
                             [this](const std::optional<Error>& error) { patches_trouble(error); })),
      tools_(std::move(tools)),
      ring_(ring),
      discovery_timer_(tools_->control),
      unassigned_(tools_, *this, ring_.view, [this] { pass(); }),
      orphans_(tools_, *this, ring_.view, ring_.mover, unassigned_,
               {.on_trouble = [this](const std::optional<Error>& error) { set_trouble("watch", error); },
                .on_blind = [this] { pass(); },
                .on_not_found = [this] { resolve(kube::Discovery::kMinAge); }}),
      passed_(tools_, ring_.view, metrics()) {
  if (role() == ring::Role::kMain) {
    drains_.emplace(
        tools_, ring_.view.entry()->drain_label(), ring_.view.entry()->shard_label(), metrics(),
        DrainCounter::Callbacks{.is_outdated = [this](const kube::ObjectMeta& object) { return drains_astray(object); },
                                .on_misled = [this] { pass_over_all(); }});
  }
}

ResourceWorker::~ResourceWorker() {
  metrics()->remove_gauges();
}

// --- what the resource is

void ResourceWorker::start() {
  resolve(kube::Discovery::kMaxAge);
}

void ResourceWorker::resolve(std::chrono::nanoseconds max_age) {
  if (std::exchange(resolving_, true)) {
    return;
  }
  tools_->discovery.resolve(
      name().group, name().resource,
      lifetime_.bind_on(tools_->control, [this](Result<kube::Resource> resource) { resolved(std::move(resource)); }),
      max_age);
}

void ResourceWorker::resolved(Result<kube::Resource> resource) {
  if (!resource) {
    // controllerring/ reports it in the ring's status.
    is_unserved_ = is_unserved_ || resource.error().code == ErrorCode::kNotFound;
    discovery_timer_.set(discovery_backoff_.next(), [this] {
      resolving_ = false;
      resolve(kube::Discovery::kMinAge);
    });
    return;
  }
  resolving_ = false;
  discovery_backoff_.reset();
  if (std::exchange(is_unserved_, false) || resource_ != *resource) {
    resource_ = std::move(*resource);
    begin();
  }
}

bool ResourceWorker::is_ready() const {
  return resource_ && (ring_.namespaces.synced() || !ring_.view.needs_namespaces());
}

void ResourceWorker::begin() {
  if (!is_ready()) {
    return;
  }
  if (drains_) {
    drains_->begin(resource());
  }
  orphans_.open();
  pass_over_all();
}

// --- what happens

void ResourceWorker::namespaces_synced() {
  if (ring_.view.needs_namespaces()) {
    begin();
  }
}

void ResourceWorker::watch_orphans() {
  unassigned_.shards_changed();
  if (is_ready()) {
    orphans_.open();
  }
}

void ResourceWorker::pass_for_shards(bool needed) {
  if (needed || orphans_.needs_passes()) {
    pass_over_all();
  }
}

void ResourceWorker::pass_over_all() {
  if (is_ready()) {
    pass();
  }
}

void ResourceWorker::pass_over_namespace(const std::string& name) {
  if (is_ready() && resource().namespaced) {
    ring_.passes.want({.source = index(), .object_namespace = name});
  }
}

void ResourceWorker::pass(std::chrono::nanoseconds pause) {
  ring_.passes.want({.source = index(), .object_namespace = ""}, pause);
}

void ResourceWorker::sync() {
  if (!is_ready()) {
    return;
  }
  if (drains_) {
    drains_->sync();
  }
  unassigned_.sync();
  if (orphans_.is_given_up()) {
    orphans_.try_again();
  }
}

void ResourceWorker::server_is_back() {
  if (is_ready() && orphans_.is_failing()) {
    orphans_.open();  // unless it was given up
    pass();
  }
}

void ResourceWorker::look() {
  mover().look(*this);
  orphans_.look();
  passed_.look();
  if (unassigned_.wants_watch()) {
    orphans_.open();
  }
  if (is_ready()) {
    unassigned_.look(orphans_.selector_of_all());
  }
  if (drains_) {
    drains_->look(patches().carried_out());
  }
}

ResourceReport ResourceWorker::report() const {
  const SteadyTime now = tools_->clock.steady();
  ResourceReport report{.name = name(), .role = role(), .pending = mover().pending(*this)};
  report.carried_out = carried_out();
  if (drains_) {
    report.draining = drains_->draining();
    if (const auto oldest = drains_->oldest()) {
      report.oldest_drain = now - *oldest;
    }
  }
  report.objects = passed_.objects();
  report.unassigned = unassigned_.unassigned();
  return report;
}

void ResourceWorker::add_to(Flows& flows) const {
  if (drains_) {
    drains_->add_to(flows);
  }
}

bool ResourceWorker::drains_astray(const kube::ObjectMeta& object) const {
  const ring::RingEntry& entry = *ring_.view.entry();
  return is_outdated(entry, ring_.view.placement(*this, object), object.label(entry.drain_label()).value_or(""));
}

// --- what passes and patches meet

void ResourceWorker::pass_begins() {
  if (drains_) {
    drains_->pass_begins();
  }
  patches_not_permitted_ = false;
  passed_.begins();
  unassigned_.pass_begins();
  patches().pass_begins();
}

bool ResourceWorker::consider(const kube::ObjectMeta& object) {
  if (drains_ && object.label(ring_.view.entry()->drain_label())) {
    drains_->seen_in_pass();
  }
  const Sighting seen = ring_.view.look_at(*this, object);
  const bool is_past = mover().shows_past(object);
  passed_.shown(seen, is_past);
  if (!is_past) {
    unassigned_.pass_shows(seen);
  }
  return mover().consider(*this, seen);
}

void ResourceWorker::pass_ended() {
  if (drains_) {
    drains_->pass_ended();
  }
  passed_.ended();
  unassigned_.pass_ended();
  mover().pass_ended(*this);
}

void ResourceWorker::lists_trouble(const std::optional<Error>& error) {
  set_trouble("list", error);
  if (error && error->code == ErrorCode::kNotFound) {
    resolve(kube::Discovery::kMinAge);  // perhaps it is served in another version
  } else if (!error && orphans_.is_failing()) {
    orphans_.try_again();  // the watch may have failed for the same reason
  }
}

void ResourceWorker::room_changed() {
  if (!has_room()) {
    is_full_ = true;
  } else if (std::exchange(is_full_, false)) {
    ring_.passes.resume();
    if (!patches_not_permitted_) {
      orphans_.room_again();
    }
  }
}

void ResourceWorker::patches_trouble(const std::optional<Error>& error) {
  set_trouble("patch", error);
  if (error && error->code != ErrorCode::kForbidden) {
    return;  // they are tried again, one by one
  }
  if (!error) {
    patch_backoff_.reset();
    orphans_.room_later();
    if (std::exchange(patches_not_permitted_, false)) {
      pass(kPermittedPause);  // it finds the dropped moves
    }
  } else if (!std::exchange(patches_not_permitted_, true)) {
    // Once for the hundred patches under way, none of which is permitted. The pass finds the dropped moves again.
    pass(patch_backoff_.next());
  }
}

void ResourceWorker::set_trouble(const std::string& verb, const std::optional<Error>& error) {
  ring_.troubles.set(verb + " " + to_string(name()), error);
}

}  // namespace sharder::rebalancer
