#include "rebalancer/unassigned_counter.h"

#include <algorithm>
#include <utility>

#include "rebalancer/decision.h"
#include "rebalancer/move_queue.h"

namespace sharder::rebalancer {

namespace {

std::string name_of(const kube::ObjectMeta& object) {
  return to_string(ObjectId{.object_namespace = object.object_namespace, .name = object.name});
}

}  // namespace

UnassignedCounter::UnassignedCounter(std::shared_ptr<Tools> tools, const Source& source, RingView& view,
                                     std::function<void()> want_pass)
    : tools_(std::move(tools)),
      source_(source),
      view_(view),
      want_pass_(std::move(want_pass)),
      list_(tools_, kPause,
            {.on_begin = [this] { listed_ = {}; },
             .on_object = [this](const kube::ObjectMeta& object) { add(listed_, view_.look_at(source_, object)); },
             .on_end =
                 [this] {
                   passes_count_ = false;
                   replace(std::exchange(listed_, {}));
                 },
             .on_given_up = [this] { lists_given_up(); }}) {}

void UnassignedCounter::add(Census& list, const Sighting& seen) const {
  if (seen.is_unassigned) {
    const std::uint64_t object = object_hash(seen.object);
    list.shown(object, census_.since(object, tools_->clock.steady()), name_of(seen.object));
  }
}

void UnassignedCounter::replace(Census census) {
  census_ = std::move(census);
  is_known_ = true;
}

// --- the watch

void UnassignedCounter::watch_lists() {
  watch_ends();
  listed_by_watch_.emplace();
  list_began_ = tools_->clock.steady();
}

void UnassignedCounter::watch_shows(const Sighting& seen) {
  if (listed_by_watch_) {
    add(*listed_by_watch_, seen);
  } else if (shows_all_ && seen.is_unassigned) {
    census_.came(object_hash(seen.object), tools_->clock.steady(), name_of(seen.object));
  }
}

void UnassignedCounter::watch_lost(const Sighting& last) {
  if (last.placement.key.empty()) {
    return;
  }
  if (listed_by_watch_) {
    listed_by_watch_->gone(object_hash(last.object));
  } else if (shows_all_) {
    census_.gone(object_hash(last.object));
  }
}

void UnassignedCounter::watch_listed(bool all) {
  const SteadyTime now = tools_->clock.steady();
  no_watch_before_ = now + kPause * (now - list_began_);
  auto listed = std::exchange(listed_by_watch_, std::nullopt);
  if (listed && all) {
    list_.stop();
    replace(std::move(*listed));
    passes_count_ = false;
    shows_all_ = true;
    is_doubtful_ = false;
  }
}

void UnassignedCounter::watch_ends() {
  if (const auto listed = std::exchange(listed_by_watch_, std::nullopt); listed && listed->count() > 0) {
    census_.at_least(*listed);
    is_known_ = true;
  }
  if (std::exchange(shows_all_, false)) {
    watch_ended_ = tools_->clock.steady();
  }
}

bool UnassignedCounter::wants_watch() const {
  return shows_all_ && (is_doubtful_ || census_.is_vague()) && tools_->clock.steady() >= no_watch_before_;
}

// --- passes and lists

// Once: a later pass comes with the sync, or when the ring changes.
void UnassignedCounter::lists_given_up() {
  if (!std::exchange(passes_count_, true)) {
    want_pass_();
  }
}

void UnassignedCounter::pass_shows(const Sighting& seen) {
  if (seen_in_pass_) {
    add(*seen_in_pass_, seen);
  }
  if (seen.is_unassigned && !census_.is_vague() && !census_.has(object_hash(seen.object))) {
    is_doubtful_ = true;  // it is what was an instant ago, or the watch does not show it
  }
}

void UnassignedCounter::pass_ended() {
  auto seen = std::exchange(seen_in_pass_, std::nullopt);
  if (seen && !shows_all_ && (!has_selector_ || list_.is_failing())) {
    replace(std::move(*seen));
  }
}

void UnassignedCounter::look(const std::optional<std::string>& selector) {
  list_.look();
  has_selector_ = selector.has_value();
  if (!shows_all_ && has_selector_ && tools_->clock.steady() >= watch_ended_ + kPatience && list_.is_due()) {
    list_.start(source_.resource(), *selector);
  }
  if (const auto counted = unassigned()) {
    source_.metrics()->set_unassigned(*counted);
  }
}

std::optional<Strays> UnassignedCounter::unassigned() const {
  if (!is_known_) {
    return std::nullopt;
  }
  const SteadyTime now = tools_->clock.steady();
  return Strays{.objects = census_.count(),
                .oldest = census_.count() > 0 ? now - std::min(census_.oldest(), now) : std::chrono::nanoseconds(0),
                .example = census_.example()};
}

}  // namespace sharder::rebalancer
