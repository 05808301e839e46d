#include "rebalancer/orphan_watch.h"

#include <utility>

#include "kube/client/failure_class.h"

namespace sharder::rebalancer {

namespace {

// A watch that stays open for so long works.
constexpr std::chrono::seconds kSettled{5};
// The pause between watches while many orphans wait.
constexpr std::chrono::seconds kCrowded{5};

// Not permitted, or the resource has no watch. If it has no list either, the passes will fail.
bool cannot_be_watched(const Error& error) {
  return error.code == ErrorCode::kForbidden || error.http_status == 405;
}

}  // namespace

OrphanWatch::OrphanWatch(std::shared_ptr<Tools> tools, Source& source, RingView& view, Mover& mover,
                         UnassignedCounter& counter, Callbacks callbacks)
    : tools_(std::move(tools)),
      source_(source),
      view_(view),
      mover_(mover),
      counter_(counter),
      callbacks_(std::move(callbacks)),
      log_(tools_->log.with({{"ring", view.entry()->spec().name}})),
      reopen_timer_(tools_->control) {}

// --- its states

void OrphanWatch::open() {
  look();
  if (state_ == State::kGivenUp) {
    return;
  }
  if (!view_.entry()->ring().shards().empty()) {
    enter(State::kListing);
    return;
  }
  enter(State::kClosed);
  failure_ = {};  // it is not tried any more
  callbacks_.on_trouble(std::nullopt);
}

void OrphanWatch::try_again() {
  if (state_ == State::kGivenUp) {
    enter(State::kClosed);
  }
  open();
}

void OrphanWatch::enter(State state) {
  state_ = state;
  reopen_timer_.cancel();
  watch_.reset();
  counter_.watch_ends();
  if (state != State::kCut) {
    open_since_.reset();
  }
  if (state == State::kListing) {
    start_watch();
  }
}

void OrphanWatch::start_watch() {
  watch_ = std::make_unique<ObjectWatch>(
      tools_, source_.resource(), selector(), true,
      ObjectWatch::Callbacks{
          .on_events = [this](const std::vector<ObjectEvent>& events) { came(events); },
          .on_connection = [this](bool watching, const std::optional<Error>& error) { connection(watching, error); },
          .on_overflow = [this] { cut(); }});
}

std::string OrphanWatch::selector() const {
  const std::string& label = view_.entry()->shard_label();
  if (selector_ == Selector::kAbsent) {
    return "!" + label;
  }
  std::string selector = label + " notin (";
  for (const auto* shards : {&view_.entry()->ring().shards(), &view_.entry()->cordoned()}) {
    for (const std::string& shard : *shards) {
      selector += shard;
      selector += ',';
    }
  }
  selector.back() = ')';
  return selector;
}

std::optional<std::string> OrphanWatch::selector_of_all() const {
  if (view_.entry()->ring().shards().empty()) {
    return "";
  }
  return selector_ == Selector::kNotIn ? std::optional(selector()) : std::nullopt;
}

// --- what it shows

void OrphanWatch::came(const std::vector<ObjectEvent>& events) {
  for (const ObjectEvent& event : events) {
    if (!take(event)) {
      break;
    }
  }
  mover_.pump();
}

bool OrphanWatch::take(const ObjectEvent& event) {
  switch (event.type) {
    case kube::WatchEventType::kInitApply:
    case kube::WatchEventType::kApply: {
      const Sighting seen = view_.look_at(source_, event.object);
      counter_.watch_shows(seen);
      if (mover_.consider(source_, seen)) {
        return true;
      }
      cut();
      return false;
    }
    case kube::WatchEventType::kDelete:
      counter_.watch_lost(view_.look_at(source_, event.object));
      mover_.retract(source_, event.object);
      return true;
    case kube::WatchEventType::kInitDone:
      counter_.watch_listed(selector_ == Selector::kNotIn);
      return listed();
    case kube::WatchEventType::kInit:
      counter_.watch_lists();
      if (state_ == State::kWatching) {
        mover_.lists_anew();
      }
      return true;
  }
  return true;
}

bool OrphanWatch::listed() {
  cut_backoff_.reset();
  state_ = State::kWatching;
  if (!mover_.has_many_orphans(source_)) {
    return true;
  }
  works();
  // An open watch would show each of our own moves, as an object that is an orphan no more. If there is no room soon,
  // it is opened all the same: other orphans may have come meanwhile.
  cut();
  reopen_timer_.set(kCrowded, [this] { open(); });
  return false;
}

void OrphanWatch::cut() {
  enter(State::kCut);
  if (source_.has_room()) {
    room_later();  // it may bring too much again
  }
}

void OrphanWatch::room_again() {
  if (state_ == State::kCut) {
    open();
  }
}

void OrphanWatch::room_later() {
  if (state_ == State::kCut) {
    reopen_timer_.set(cut_backoff_.next(), [this] { open(); });
  }
}

// --- whether it works

void OrphanWatch::connection(bool watching, const std::optional<Error>& error) {
  look();
  open_since_ = watching ? std::optional(tools_->clock.steady()) : std::nullopt;
  if (error && kube::is_request_too_large(*error) && selector_ == Selector::kNotIn) {
    log_.info("too many shards for a selector, objects of dead shards are found by passes only",
              {{"resource", to_string(source_.name())}});
    selector_ = Selector::kAbsent;
    open();
    callbacks_.on_blind();
  } else if (error) {
    failed(*error);
  }
}

// The watch tries again by itself.
void OrphanWatch::failed(const Error& error) {
  if (error.code == ErrorCode::kNotFound) {
    callbacks_.on_not_found();
  }
  const bool can_do_without = cannot_be_watched(error);
  if (can_do_without && !failure_.pending()) {
    callbacks_.on_blind();
  }
  const bool report = failure_.failed(error, tools_->clock.steady());
  if (can_do_without && failure_.lasts()) {
    give_up(error);
  } else if (report) {
    callbacks_.on_trouble(error);
  }
}

void OrphanWatch::look() {
  if (open_since_ && tools_->clock.steady() - *open_since_ >= kSettled) {
    works();
  }
}

void OrphanWatch::works() {
  failure_.succeeded(tools_->clock.steady());
  callbacks_.on_trouble(std::nullopt);
}

void OrphanWatch::give_up(const Error& error) {
  enter(State::kGivenUp);
  callbacks_.on_trouble(std::nullopt);
  if (!std::exchange(giving_up_logged_, true)) {
    log_.warn("a resource cannot be watched, its objects are found by passes only",
              {{"resource", to_string(source_.name())}, {"error", error.message}});
  }
}

}  // namespace sharder::rebalancer
