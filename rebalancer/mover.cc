#include "rebalancer/mover.h"

#include <algorithm>
#include <utility>

#include "kube/client/resource.h"

namespace sharder::rebalancer {

namespace {

constexpr std::string_view kFieldManager = "sharder";
constexpr BackoffPolicy kTransient{};
// Of what fails and fails, behind kTransient.
constexpr BackoffPolicy kBroken{.initial = std::chrono::seconds(2), .max = std::chrono::minutes(2)};
constexpr BackoffPolicy kRefusal{.initial = std::chrono::seconds(2), .max = std::chrono::minutes(5)};
// Conflicts in a row after which an object that others write all the time has to wait.
constexpr int kPatientConflicts = 3;
constexpr std::chrono::seconds kForbiddenPause{1};

// The API server's own authorisation, not a policy or webhook that refuses this one object. It takes text: both say
// Forbidden.
bool is_missing_permission(const Error& error) {
  return error.code == ErrorCode::kForbidden && error.message.find("cannot patch resource") != std::string::npos;
}

// Somebody else's webhook fails for the object; the API server is well. It takes text: etcd's failures are a 500 too.
bool is_webhook_failure(const Error& error) {
  return error.http_status == 500 && error.message.find("failed calling webhook") != std::string::npos;
}

// Not where the object has gone, or the patch was not wanted any more.
bool is_failure(const Error& error) {
  return error.code != ErrorCode::kNotFound && error.code != ErrorCode::kCancelled &&
         error.code != ErrorCode::kConflict;
}

// The request may have been carried out: its answer did not come.
bool is_lost(const Error& error) {
  return error.code == ErrorCode::kTimeout || kube::is_outage(error);
}

}  // namespace

// A move that is under way, with what it was decided by.
struct Mover::Flight {
  ObjectId id;
  Move move;
  std::shared_ptr<const ring::RingEntry> entry;
  std::shared_ptr<ResourceMetrics> metrics;
  SteadyTime sent = {};
  int conflicts = 0;
  bool fails = false;  // and fails, by no fault of its own

  // It was carried out: an answer told so, or the object shows it.
  void count(MoveKind kind, SteadyTime now) const {
    if (kind == MoveKind::kDrain) {
      metrics->drained(now - move.found);
    } else if (kind == MoveKind::kReassign) {
      metrics->moved(now - move.found);
    }
  }
  // Its patch was answered, for whom nobody perhaps waits any more. Any thread.
  void count(const Result<kube::Response>& answer, SteadyTime now) const {
    if (answer) {
      count(move.decision.kind, now);
    } else if (is_failure(answer.error())) {
      metrics->failed(to_string(answer.error().code));
    }
  }
};

Mover::Mover(std::shared_ptr<Tools> tools, RingView& view, std::vector<std::shared_ptr<ResourceMetrics>> metrics,
             kube::ObjectReference ring, Callbacks callbacks)
    : tools_(std::move(tools)),
      view_(view),
      metrics_(std::move(metrics)),
      ring_(std::move(ring)),
      callbacks_(std::move(callbacks)),
      log_(tools_->log.with({{"ring", ring_.name}})),
      limit_(tools_->settings.concurrent_moves),
      states_(metrics_.size()),
      timer_(tools_->control) {}

Mover::~Mover() {
  ++*ring_version_;
}

std::string Mover::describe(const ObjectId& id) const {
  return to_string(view_.sources()[id.source].name) + " " + to_string(id);
}

bool Mover::consider(std::uint32_t source, const kube::ObjectMeta& object) {
  const Placement& placement = view_.placement(source, object);
  const Decision decision = view_.decide(source, placement);
  ObjectId id{.source = source, .object_namespace = object.object_namespace, .name = object.name};
  if (decision.kind == MoveKind::kNone) {
    queue_.retract(id, object.resource_version);  // a page may show an older state than the watch has shown
    return true;
  }
  const SteadyTime now = tools_->clock.steady();
  const std::uint64_t hash = object_hash(object);
  if (recent_.is_past(hash, object.resource_version, now)) {
    return true;
  }
  const SteadyTime not_before = recent_.not_before(hash, *ring_version_, now);
  if (queue_.active() == 0) {
    sum_ = {.since = now};
  }
  const bool taken = queue_.offer(id,
                                  {.decision = decision,
                                   .placement = placement,
                                   .resource_version = object.resource_version,
                                   .object = hash,
                                   .found = now,
                                   .delayed = not_before > now},
                                  not_before);
  pump();
  return taken;
}

void Mover::retract(std::uint32_t source, const kube::ObjectMeta& object) {
  queue_.retract({.source = source, .object_namespace = object.object_namespace, .name = object.name});
}

void Mover::pass_ended(std::uint32_t source) {
  if (queue_.size(source) == 0 && !states_[source].refused_in_pass) {
    granted(source);  // at least nothing is kept from us
  }
}

void Mover::lists_anew() {
  recent_.forget_versions(tools_->clock.steady());
}

void Mover::ring_changed() {
  ++*ring_version_;
  queue_.decide_anew(
      [this](std::uint32_t source, const Placement& placement) { return view_.decide(source, placement); },
      tools_->clock.steady());
  pump();
}

void Mover::forget_namespace(const std::string& name) {
  queue_.clear_namespace(name);
  pump();
}

void Mover::pump() {
  const SteadyTime now = tools_->clock.steady();
  const auto may = [this, now](std::uint32_t source) { return may_send(source, now); };
  while (queue_.in_flight() < limit_.current()) {
    auto taken = queue_.take(now, may);
    if (!taken) {
      break;
    }
    const auto flight = std::make_shared<Flight>(std::move(taken->id), std::move(taken->move), view_.entry(),
                                                 metrics_[taken->id.source]);
    if (flight->move.decision.kind == MoveKind::kStale) {
      read_again(flight);
    } else {
      send(flight);
    }
  }
  arm_timer(now);
  tell_of_room();
}

void Mover::tell_of_room() {
  for (std::uint32_t source = 0; source < states_.size(); ++source) {
    if (!has_room(source)) {
      states_[source].room_told = false;
    } else if (!std::exchange(states_[source].room_told, true)) {
      callbacks_.on_room(source);
    }
  }
}

bool Mover::may_send(std::uint32_t source, SteadyTime now) const {
  const State& state = states_[source];
  const std::size_t places = state.is_slow ? std::max<std::size_t>(limit_.current() / kSlowShare, 1) : limit_.current();
  return now >= state.paused_until && queue_.in_flight(source) < places;
}

// `now`: when pump() looked; what became due since then is due for the timer.
void Mover::arm_timer(SteadyTime now) {
  std::optional<SteadyTime> due;
  for (std::uint32_t source = 0; source < states_.size(); ++source) {
    if (const auto next = queue_.next_due(source)) {
      const SteadyTime when = std::max(*next, states_[source].paused_until);
      if (when > now) {  // else it waits for a place, which an answer makes
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
  const kube::Resource& resource = *view_.sources()[flight->id.source].resource;
  kube::Request request =
      kube::patch_request(resource, flight->id.object_namespace, flight->id.name, kube::kMergePatch,
                          patch_body(*flight->entry, flight->move.decision, *precondition), kFieldManager);
  request.accept = kube::kCompactMetadata;
  request.lane = kube::Lane::kMove;
  request.still_wanted = [current = ring_version_, version = ring_version_->load()] { return *current == version; };
  flight->sent = tools_->clock.steady();
  tools_->api.send(std::move(request),
                   [flight, &clock = tools_->clock, ticket = tools_->leader_work.enter(),
                    then = lifetime_.bind_on(tools_->control, [this, flight](const Result<kube::Response>& answer) {
                      answered(flight, answer);
                    })](Result<kube::Response> answer) mutable {
                     flight->count(answer, clock.steady());
                     then(std::move(answer));
                   });
}

void Mover::answered(const FlightPointer& flight, const Result<kube::Response>& answer) {
  if (answer) {
    const SteadyTime now = tools_->clock.steady();
    limit_.answered(now - flight->sent, answer->throttled, now);
    succeeded(flight, answer->body);
  } else {
    failed(flight, answer.error());
  }
  pump();
}

void Mover::succeeded(const FlightPointer& flight, const std::string& body) {
  const SteadyTime now = tools_->clock.steady();
  const Move& move = flight->move;
  count(*flight, move.decision.kind);
  flight->move.unanswered.reset();  // that one was not: this patch had the same version as its precondition
  if (log_.enabled(LogLevel::kDebug)) {
    log_.debug("object patched", {{"object", describe(flight->id)}, {"drain", move.decision.kind == MoveKind::kDrain}});
  }
  granted(flight->id.source);
  works_again(flight->id.source, now);
  const auto object = decoder_.decode(body);
  const bool has_changed = object && object->resource_version != move.resource_version;
  recent_.moved(move.object, has_changed ? move.resource_version : std::string(), *ring_version_, now);
  if (recent_.repeats(move.object, *ring_version_, now) == kQuarrel) {
    log_.warn("the labels of an object do not last, it is moved with growing pauses",
              {{"object", describe(flight->id)}});
    tools_->events.record(ring_, kube::EventType::kWarning, "LabelsDoNotLast",
                          "The labels of " + describe(flight->id) +
                              " have to be put right again and again: something else removes or changes them");
  }
  finish(flight);
}

void Mover::count(const Flight& flight, MoveKind kind) {
  ++states_[flight.id.source].carried_out;
  sum_.drains += kind == MoveKind::kDrain ? 1 : 0;
  sum_.reassigned += kind == MoveKind::kReassign ? 1 : 0;
}

// The object was read: it shows whether the patch without an answer was carried out.
void Mover::count_unanswered(const FlightPointer& flight) {
  const auto unanswered = std::exchange(flight->move.unanswered, std::nullopt);
  const Placement& placement = flight->move.placement;
  if (unanswered &&
      (unanswered->kind == MoveKind::kDrain ? placement.draining
                                            : placement.shard == unanswered->shard && !placement.draining)) {
    flight->count(unanswered->kind, tools_->clock.steady());
    count(*flight, unanswered->kind);
  }
}

Mover::Outcome Mover::outcome(const Error& error) {
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
      return is_missing_permission(error) ? Outcome::kForbidden : Outcome::kRefused;
    case ErrorCode::kInvalid:
    case ErrorCode::kTooLarge:
      return Outcome::kRefused;
  }
  return Outcome::kRefused;
}

void Mover::failed(const FlightPointer& flight, const Error& error) {
  const std::uint32_t source = flight->id.source;
  const Outcome result = outcome(error);
  sum_.failures += is_failure(error) ? 1 : 0;
  const bool is_late = error.code == ErrorCode::kTimeout;
  states_[source].is_slow = is_late || is_webhook_failure(error);
  if (is_late || (error.code == ErrorCode::kUnavailable && !is_webhook_failure(error))) {
    limit_.refused(tools_->clock.steady());
  }
  const Decision& decision = flight->move.decision;
  if (is_lost(error) && (decision.kind == MoveKind::kReassign || decision.kind == MoveKind::kDrain)) {
    flight->move.unanswered = {.kind = decision.kind, .shard = std::string(decision.shard)};
  }
  if (log_.enabled(LogLevel::kDebug)) {
    log_.debug("object not patched", {{"object", describe(flight->id)}, {"error", error.message}});
  }
  if (result == Outcome::kRefused || error.code == ErrorCode::kNotFound || error.code == ErrorCode::kConflict) {
    granted(source);  // it came past the API server's authorisation
  }
  flight->fails = flight->move.failures >= kLastingFailures && (is_late || error.http_status == 500);
  if (flight->fails) {
    tell_failure(flight, error);
  }
  switch (result) {
    case Outcome::kDone:
      finish(flight);
      return;
    case Outcome::kChanged:
      // What took all the time that it had does not go again at once.
      flight->conflicts += is_late ? kPatientConflicts + 1 : 1;
      read_again(flight);
      return;
    case Outcome::kAgain:
      try_again(flight);
      return;
    case Outcome::kForbidden:
      forbidden(flight, error);
      return;
    case Outcome::kRefused:
      refused(flight, error);
      return;
  }
}

void Mover::granted(std::uint32_t source) {
  if (states_[source].refusal.pending()) {
    states_[source].refusal.succeeded(tools_->clock.steady());
    callbacks_.on_trouble(source, std::nullopt);
  }
}

// As a rule what kept one from being moved kept all. Where it did not, those that fail are not tried with each success.
void Mover::works_again(std::uint32_t source, SteadyTime now) {
  State& state = states_[source];
  state.is_slow = false;
  if (state.failing && now >= state.hastened + kQuiet) {
    state.hastened = now;
    queue_.hasten(source, now);
  }
}

void Mover::look_whether_over(std::uint32_t source) {
  auto& failing = states_[source].failing;
  if (failing && (queue_.size(source) == 0 || tools_->clock.steady() >= *failing + kQuiet)) {
    failing.reset();
    log_.info("objects of a resource can be moved again", {{"resource", to_string(view_.sources()[source].name)}});
    callbacks_.on_trouble(source, std::nullopt);
  }
}

void Mover::forbidden(const FlightPointer& flight, const Error& error) {
  const std::uint32_t source = flight->id.source;
  const SteadyTime now = tools_->clock.steady();
  State& state = states_[source];
  state.refused_in_pass = true;
  state.paused_until = now + kForbiddenPause;
  state.refusal.failed(error, now);
  if (!state.refusal.lasts()) {
    retry(flight, kTransient);
    return;
  }
  finish(flight);
  queue_.clear_source(source);
  callbacks_.on_trouble(source, error);
}

void Mover::refused(const FlightPointer& flight, const Error& error) {
  if (!std::exchange(flight->move.delayed, true)) {
    flight->move.failures = 0;
    log_.warn("an object cannot be moved, it is tried again with growing pauses",
              {{"object", describe(flight->id)}, {"error", error.message}});
    tools_->events.record(ring_, kube::EventType::kWarning, "MoveFailed",
                          "Cannot move " + describe(flight->id) + ": " + error.message);
  }
  retry(flight, kRefusal);
}

// Once for all objects of a resource: as a rule what keeps one from being moved keeps all.
void Mover::tell_failure(const FlightPointer& flight, const Error& error) {
  const bool is_told = std::exchange(states_[flight->id.source].failing, tools_->clock.steady()).has_value();
  if (!is_told) {
    callbacks_.on_trouble(flight->id.source, error);
    log_.warn("objects of a resource cannot be moved, they are tried again",
              {{"object", describe(flight->id)}, {"error", error.message}});
    tools_->events.record(ring_, kube::EventType::kWarning, "MoveFailed",
                          "Cannot move " + describe(flight->id) + " and perhaps others: " + error.message);
  }
}

void Mover::try_again(const FlightPointer& flight) {
  if (flight->fails) {
    retry(flight, kBroken, kLastingFailures);
  } else {
    retry(flight, kTransient);
  }
}

// `before`: so many failures do not count for the pause.
void Mover::retry(const FlightPointer& flight, const BackoffPolicy& policy, int before) {
  if (flight->entry != view_.entry()) {
    flight->move.forget_decision();  // by a ring that is past
  }
  const SteadyTime when = tools_->clock.steady() + backoff_pause(policy, flight->move.failures++ - before, random_);
  queue_.retry(flight->id, std::move(flight->move), when);
}

void Mover::finish(const FlightPointer& flight) {
  if (!queue_.done(flight->id)) {
    read_again(flight);
  } else if (queue_.active() == 0) {
    summarise();
  }
  look_whether_over(flight->id.source);
}

void Mover::read_again(const FlightPointer& flight) {
  queue_.looking(flight->id);
  // A list, because that and patch is what users grant (protocol, 8).
  const kube::Resource& resource = *view_.sources()[flight->id.source].resource;
  ask(flight,
      {.target = kube::path(resource, flight->id.object_namespace, {}, {},
                            {{"fieldSelector", "metadata.name=" + flight->id.name}}),
       .accept = std::string(kube::kCompactMetadataList)},
      &Mover::listed);
}

// Where lists show no resourceVersion, the object itself may.
void Mover::get(const FlightPointer& flight) {
  queue_.looking(flight->id);
  kube::Request request =
      kube::get_request(*view_.sources()[flight->id.source].resource, flight->id.object_namespace, flight->id.name);
  request.accept = kube::kCompactMetadata;
  ask(flight, std::move(request), &Mover::got);
}

void Mover::ask(const FlightPointer& flight, kube::Request request,
                void (Mover::*then)(const FlightPointer&, Result<kube::Response>)) {
  request.lane = kube::Lane::kMove;
  tools_->api.send(std::move(request),
                   lifetime_.bind_on(tools_->control, [this, flight, then](Result<kube::Response> answer) {
                     (this->*then)(flight, std::move(answer));
                     pump();
                   }));
}

void Mover::listed(const FlightPointer& flight, Result<kube::Response> answer) {
  std::optional<kube::ObjectMeta> object;
  const auto read = !answer ? std::unexpected(answer.error())
                            : decoder_.decode_list(answer->body, [&object](const Result<kube::ObjectMeta>& item) {
                                if (item) {
                                  object = *item;
                                }
                              });
  if (read) {
    decide_anew(flight, object);
  } else {
    // With the version that it was decided on it comes back here, or succeeds.
    retry(flight, kTransient);
  }
}

void Mover::got(const FlightPointer& flight, Result<kube::Response> answer) {
  auto object = answer ? decoder_.decode(answer->body) : std::unexpected(std::move(answer.error()));
  if (object && object->resource_version.empty()) {
    object = fail(ErrorCode::kInvalid, "the API server shows the object without a resourceVersion");
  }
  if (object) {
    decide_anew(flight, *object);
    return;
  }
  switch (outcome(object.error())) {
    case Outcome::kDone:
      finish(flight);
      return;
    case Outcome::kForbidden:
    case Outcome::kRefused:
      refused(flight, object.error());
      return;
    case Outcome::kChanged:
    case Outcome::kAgain:
      retry(flight, kTransient);
      return;
  }
}

void Mover::decide_anew(const FlightPointer& flight, const std::optional<kube::ObjectMeta>& object) {
  flight->entry = view_.entry();
  flight->move.placement = object ? view_.placement(flight->id.source, *object) : Placement();
  count_unanswered(flight);
  flight->move.decision = view_.decide(flight->id.source, flight->move.placement);
  if (flight->move.decision.kind == MoveKind::kNone) {
    finish(flight);
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

void Mover::summarise() {
  if (sum_.reassigned + sum_.drains + sum_.failures > 0) {
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(tools_->clock.steady() - sum_.since);
    log_.info(
        "objects moved",
        {{"reassigned", sum_.reassigned}, {"drains", sum_.drains}, {"failures", sum_.failures}, {"ms", took.count()}});
  }
  sum_ = {.since = tools_->clock.steady()};
}

void Mover::update_metrics() {
  for (std::uint32_t source = 0; source < metrics_.size(); ++source) {
    look_whether_over(source);
    metrics_[source]->set_pending(queue_.size(source));
  }
}

}  // namespace sharder::rebalancer
