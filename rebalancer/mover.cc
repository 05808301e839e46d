#include "rebalancer/mover.h"

#include <algorithm>
#include <utility>

#include "kube/client/failure_class.h"
#include "kube/client/resource.h"

namespace sharder::rebalancer {

namespace {

constexpr BackoffPolicy kTransient{};
// After kTransient, for lasting failures.
constexpr BackoffPolicy kBroken{.initial = std::chrono::seconds(2), .max = std::chrono::minutes(2)};
constexpr BackoffPolicy kRejection{.initial = std::chrono::seconds(2), .max = std::chrono::minutes(5)};
// Conflicts in a row after which an object that others write all the time has to wait.
constexpr int kPatientConflicts = 3;

// The API server's own authorisation does not permit patches of the resource; no policy or webhook rejects this object.
// Only the text distinguishes them: both are Forbidden.
bool is_missing_permission(const Error& error) {
  return error.code == ErrorCode::kForbidden && error.message.find("cannot patch resource") != std::string::npos;
}

// Somebody else's webhook fails for the object; the API server works. Only the text shows that: etcd's failures are a
// 500 too.
bool is_webhook_failure(const Error& error) {
  return error.http_status == 500 && error.message.find("failed calling webhook") != std::string::npos;
}

enum class Outcome { kDone, kChanged, kAgain, kNotPermitted, kRejected };

Outcome outcome(const Error& error) {
  switch (error.code) {
    case ErrorCode::kNotFound:
    case ErrorCode::kCancelled:
      return Outcome::kDone;
    case ErrorCode::kConflict:
    case ErrorCode::kTimeout:  // it may have taken effect
      return Outcome::kChanged;
    case ErrorCode::kUnavailable:
    case ErrorCode::kUnauthorized:
    case ErrorCode::kGone:
    case ErrorCode::kExists:
      return Outcome::kAgain;
    case ErrorCode::kForbidden:
      return is_missing_permission(error) ? Outcome::kNotPermitted : Outcome::kRejected;
    case ErrorCode::kInvalid:
    case ErrorCode::kTooLarge:
      return Outcome::kRejected;
  }
  return Outcome::kRejected;
}

// Whether the object shows that the patch was carried out. An object that was drained may have arrived already.
bool is_carried_out(const Unanswered& move, const Placement& placement) {
  if (placement.draining) {
    return move.kind == MoveKind::kDrain;
  }
  return placement.shard == move.shard;
}

ObjectId id_of(const Source& source, const kube::ObjectMeta& object) {
  return {.source = source.index(), .object_namespace = object.object_namespace, .name = object.name};
}

}  // namespace

Mover::Mover(std::shared_ptr<Tools> tools, RingView& view)
    : tools_(std::move(tools)),
      view_(view),
      log_(tools_->log.with({{"ring", view.reference().name}})),
      complaints_(tools_, view.reference(), log_),
      limit_(tools_->settings.concurrent_moves),
      timer_(tools_->control),
      requests_(tools_) {}

// --- what is found

bool Mover::consider(const Source& source, const Sighting& seen) {
  const kube::ObjectMeta& object = seen.object;
  const ObjectId id = id_of(source, object);
  if (seen.decision.kind == MoveKind::kNone) {
    queue_.retract(id, object.resource_version);  // a page may show an older state than the watch has shown
    return true;
  }
  const SteadyTime now = tools_->clock.steady();
  const std::uint64_t hash = object_hash(object);
  if (recent_.is_past(hash, object.resource_version, now)) {
    return true;
  }
  const SteadyTime not_before = recent_.not_before(hash, requests_.ring_version(), now);
  if (queue_.active() == 0) {
    summary_ = MoveSummary(now);
  }
  return queue_.offer(id,
                      {.decision = seen.decision,
                       .placement = seen.placement,
                       .resource_version = object.resource_version,
                       .object = hash,
                       .found = now,
                       .delayed = not_before > now},
                      not_before);
}

bool Mover::shows_past(const kube::ObjectMeta& object) const {
  return recent_.is_past(object_hash(object), object.resource_version, tools_->clock.steady());
}

void Mover::retract(const Source& source, const kube::ObjectMeta& object) {
  queue_.retract(id_of(source, object));
}

void Mover::pass_ended(Source& source) {
  source.patches().pass_ended(queue_.size(source.index()) == 0);
}

void Mover::lists_anew() {
  recent_.forget_versions(tools_->clock.steady());
}

void Mover::ring_changed() {
  requests_.ring_changed();
  queue_.decide_anew([this](std::uint32_t source,
                            const Placement& placement) { return view_.decide(view_.source(source), placement); },
                     tools_->clock.steady());
  pump();
}

void Mover::forget_namespace(const std::string& name) {
  queue_.clear_namespace(name);
  pump();
}

void Mover::look(Source& source) {
  source.patches().look(queue_.size(source.index()) == 0);
  source.metrics()->set_pending(queue_.size(source.index()));
}

// By the newest ring, which may be newer than the decision.
void Mover::add_to(Flows& flows) const {
  const ring::Ring& ring = view_.entry()->ring();
  queue_.for_each([&](const ObjectId& /*id*/, const Move& move) {
    const Placement& placement = move.placement;
    const auto to = placement.key.empty() ? std::nullopt : ring.owner(placement.key);
    if (to != placement.shard) {  // else only a drain label that is left over is removed
      ++flows[{placement.shard, std::string(to.value_or(""))}].pending;
    }
  });
}

// --- what is sent

void Mover::pump() {
  const SteadyTime now = tools_->clock.steady();
  const auto may_send = [this, now](std::uint32_t source) {
    return view_.source(source).patches().may_send(queue_.in_flight(source), limit_.current(), now);
  };
  while (queue_.in_flight() < limit_.current()) {
    auto taken = queue_.take(now, may_send);
    if (!taken) {
      break;
    }
    Source& source = view_.source(taken->id.source);
    const auto flight =
        std::make_shared<Flight>(std::move(taken->id), std::move(taken->move), source, view_.entry(), source.metrics());
    if (flight->move.decision.kind == MoveKind::kStale) {
      list(flight);
    } else {
      send(flight);
    }
  }
  arm_timer(now);
  for (Source* const source : view_.sources()) {
    source->room_changed();
  }
}

// `now`: when pump() looked. What became due since then is left to the timer.
void Mover::arm_timer(SteadyTime now) {
  std::optional<SteadyTime> due;
  for (Source* const source : view_.sources()) {
    if (const auto next = queue_.next_due(source->index())) {
      const SteadyTime when = std::max(*next, source->patches().paused_until());
      if (when > now) {  // else it waits for a place: the next answer calls pump()
        due = std::min(due.value_or(when), when);
      }
    }
  }
  if (due == timer_due_) {
    return;
  }
  timer_.cancel();
  timer_due_ = due;
  if (due) {
    timer_.set(*due - now, [this] {
      timer_due_.reset();
      pump();
    });
  }
}

void Mover::send(const FlightPointer& flight) {
  const auto precondition = kube::Precondition::of(flight->move.resource_version);
  if (!precondition) {
    get(flight);
    return;
  }
  requests_.patch(flight, *precondition, [this, flight](const Result<MoveRequests::Patched>& answer) {
    patched(flight, answer);
    pump();
  });
}

void Mover::list(const FlightPointer& flight) {
  queue_.looking(flight->id);
  requests_.list(flight, [this, flight](const Result<std::optional<kube::ObjectMeta>>& object) {
    if (object) {
      decide_anew(flight, *object);
    } else {
      retry(flight, kTransient);  // the patch of the old decision succeeds, or conflicts and comes back here
    }
    pump();
  });
}

// Where lists show no resourceVersion, the object itself may have one.
void Mover::get(const FlightPointer& flight) {
  queue_.looking(flight->id);
  requests_.get(flight, [this, flight](const Result<kube::ObjectMeta>& object) {
    got(flight, object);
    pump();
  });
}

// --- what comes back

void Mover::patched(const FlightPointer& flight, const Result<MoveRequests::Patched>& answer) {
  if (answer) {
    const SteadyTime now = tools_->clock.steady();
    limit_.answered(now - flight->sent, answer->was_overloaded, now);
    succeeded(flight, answer->has_changed);
  } else {
    failed(flight, answer.error());
  }
}

void Mover::succeeded(const FlightPointer& flight, bool has_changed) {
  const SteadyTime now = tools_->clock.steady();
  const Move& move = flight->move;
  ResourcePatches& patches = flight->source.patches();
  patches.count();
  summary_.count(move.decision.kind);
  flight->move.unanswered.reset();  // that one was not carried out: this one had the same precondition
  if (log_.enabled(LogLevel::kDebug)) {
    log_.debug("object patched", {{"object", to_string(*flight)}, {"drain", move.decision.kind == MoveKind::kDrain}});
  }
  patches.permitted();
  if (patches.succeeded()) {
    queue_.hasten(flight->id.source, now);
  }
  const std::uint64_t ring_version = requests_.ring_version();
  recent_.moved(move.object, has_changed ? move.resource_version : std::string(), ring_version, now);
  if (recent_.repeats(move.object, ring_version, now) == kQuarrel) {
    const std::string object = to_string(*flight);
    complaints_.say({.line = "the labels of an object do not last, it is moved with growing pauses",
                     .event = "LabelsDoNotLast",
                     .message = "The labels of " + object +
                                " have to be put right again and again: something else removes or changes them"},
                    object, "");
  }
  settle(flight);
}

void Mover::failed(const FlightPointer& flight, const Error& error) {
  note_failure(flight, error);
  switch (outcome(error)) {
    case Outcome::kDone:
      settle(flight);
      return;
    case Outcome::kChanged:
      // After a timeout the patch is not sent again at once.
      flight->conflicts += error.code == ErrorCode::kTimeout ? kPatientConflicts + 1 : 1;
      list(flight);
      return;
    case Outcome::kAgain:
      try_again(flight);
      return;
    case Outcome::kNotPermitted:
      if (flight->source.patches().not_permitted(error)) {
        finish(flight);
        queue_.clear_source(flight->id.source);
      } else {
        retry(flight, kTransient);
      }
      return;
    case Outcome::kRejected:
      rejected(flight, error);
      return;
  }
}

// Notes what the failure means for the API server, the resource and the move.
void Mover::note_failure(const FlightPointer& flight, const Error& error) {
  ResourcePatches& patches = flight->source.patches();
  summary_.failed(error);
  const bool is_late = error.code == ErrorCode::kTimeout;
  patches.failed(is_late || is_webhook_failure(error));
  if (is_late || (error.code == ErrorCode::kUnavailable && !is_webhook_failure(error))) {
    limit_.overloaded(tools_->clock.steady());
  }
  const Decision& decision = flight->move.decision;
  if (kube::is_unanswered(error) && (decision.kind == MoveKind::kReassign || decision.kind == MoveKind::kDrain)) {
    flight->move.unanswered = {.kind = decision.kind, .shard = std::string(decision.shard)};
  }
  if (log_.enabled(LogLevel::kDebug)) {
    log_.debug("object not patched", {{"object", to_string(*flight)}, {"error", error.message}});
  }
  if (outcome(error) == Outcome::kRejected || error.code == ErrorCode::kNotFound ||
      error.code == ErrorCode::kConflict) {
    patches.permitted();
  }
  flight->fails = flight->move.failures >= kLastingFailures && (is_late || error.http_status == 500);
  if (flight->fails) {
    patches.fails(to_string(*flight), error);
  }
}

void Mover::rejected(const FlightPointer& flight, const Error& error) {
  if (!std::exchange(flight->move.delayed, true)) {
    flight->move.failures = 0;
    const std::string object = to_string(*flight);
    complaints_.say({.line = "an object cannot be moved, it is tried again with growing pauses",
                     .event = "MoveFailed",
                     .message = "Cannot move " + object + ": " + error.message},
                    object, error.message);
  }
  retry(flight, kRejection);
}

void Mover::got(const FlightPointer& flight, const Result<kube::ObjectMeta>& object) {
  if (object) {
    decide_anew(flight, *object);
    return;
  }
  switch (outcome(object.error())) {
    case Outcome::kDone:
      settle(flight);
      return;
    case Outcome::kNotPermitted:
    case Outcome::kRejected:
      rejected(flight, object.error());
      return;
    case Outcome::kChanged:
    case Outcome::kAgain:
      retry(flight, kTransient);
      return;
  }
}

void Mover::decide_anew(const FlightPointer& flight, const std::optional<kube::ObjectMeta>& object) {
  flight->entry = view_.entry();
  flight->move.placement = object ? view_.placement(flight->source, *object) : Placement();
  count_unanswered(flight);
  flight->move.decision = view_.decide(flight->source, flight->move.placement);
  if (flight->move.decision.kind == MoveKind::kNone) {
    settle(flight);
    return;
  }
  flight->move.resource_version = object->resource_version;
  flight->move.object = object_hash(*object);
  if (flight->conflicts > kPatientConflicts) {
    try_again(flight);
  } else {
    send(flight);
  }
}

// The object was read: it shows whether the patch without an answer was carried out.
void Mover::count_unanswered(const FlightPointer& flight) {
  const auto unanswered = std::exchange(flight->move.unanswered, std::nullopt);
  if (unanswered && is_carried_out(*unanswered, flight->move.placement)) {
    count(*flight, unanswered->kind, tools_->clock.steady());
    flight->source.patches().count();
    summary_.count(unanswered->kind);
  }
}

// --- what becomes of it

void Mover::try_again(const FlightPointer& flight) {
  if (flight->fails) {
    retry(flight, kBroken, kLastingFailures);
  } else {
    retry(flight, kTransient);
  }
}

// The first `before` failures do not count for the pause.
void Mover::retry(const FlightPointer& flight, const BackoffPolicy& policy, int before) {
  if (flight->entry != view_.entry()) {
    flight->move.forget_decision();  // it was made by an older ring
  }
  const SteadyTime when = tools_->clock.steady() + backoff_pause(policy, flight->move.failures++ - before, random_);
  queue_.retry(flight->id, std::move(flight->move), when);
}

void Mover::settle(const FlightPointer& flight) {
  if (finish(flight) && !flight->move.decision.is_orphan) {
    flight->source.settled(flight->move.object);
  }
}

bool Mover::finish(const FlightPointer& flight) {
  const bool is_done = queue_.done(flight->id);
  if (!is_done) {
    list(flight);
  } else if (queue_.active() == 0) {
    summary_.log_to(log_, tools_->clock.steady());
  }
  flight->source.patches().look(queue_.size(flight->id.source) == 0);
  return is_done;
}

}  // namespace sharder::rebalancer
