#include "shard/acknowledgements.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "ring/names.h"

namespace sharder::shard {

namespace {

constexpr std::chrono::seconds kFirstPause{1};

}  // namespace

std::string acknowledgement_body(const std::string& ring, const std::string& drain,
                                 const kube::Precondition& precondition) {
  const bool names_target = !drain.empty() && drain != ring::kDrainLabelValue;
  nlohmann::json labels{{ring::drain_label(ring), nullptr}};
  labels[ring::shard_label(ring)] = names_target ? nlohmann::json(drain) : nlohmann::json();
  return nlohmann::json{
      {"metadata", {{"resourceVersion", precondition.resource_version()}, {"labels", std::move(labels)}}}}
      .dump();
}

Acknowledgements::Acknowledgements(kube::Api& api, const Clock& clock, kube::Resource resource, std::string ring,
                                   std::string shard, std::string field_manager, Callbacks callbacks, Logger log)
    : api_(api),
      clock_(clock),
      resource_(std::move(resource)),
      ring_(std::move(ring)),
      shard_label_(ring::shard_label(ring_)),
      drain_label_(ring::drain_label(ring_)),
      shard_(std::move(shard)),
      field_manager_(std::move(field_manager)),
      callbacks_(std::move(callbacks)),
      log_(std::move(log)) {}

void Acknowledgements::acknowledge(const ObjectName& name, std::string resource_version, std::string drain) {
  if (stopped_) {
    return;
  }
  const auto [pending, is_new] = pending_.try_emplace(name);
  FlightPointer& flight = pending->second;
  if (!is_new) {
    flight->resource_version = std::move(resource_version);
    flight->drain = std::move(drain);
    flight->is_newer = true;
    return;
  }
  flight = std::make_shared<Flight>(name, std::move(resource_version), std::move(drain));
  begin(flight);
  pump();
}

void Acknowledgements::forget(const ObjectName& name) {
  if (const auto pending = pending_.find(name); pending != pending_.end()) {
    drop(FlightPointer(pending->second));
  }
}

void Acknowledgements::stop() {
  stopped_ = true;
  pending_.clear();
  waiting_.clear();
  failing_.clear();
}

bool Acknowledgements::is_wanted(const FlightPointer& flight) const {
  const auto pending = pending_.find(flight->name);
  return pending != pending_.end() && pending->second == flight;
}

// Its turn comes at once, or after a pause when earlier acknowledgements of the object did not last.
void Acknowledgements::begin(const FlightPointer& flight) {
  const Recent* const before = recent(flight->name);
  if (before == nullptr || before->times < 2) {
    waiting_.push_back(flight);
    return;
  }
  if (before->times == kUndone) {
    log_.warn("the acknowledgement of a drain does not last, it is repeated with growing pauses",
              {{"object", to_string(flight->name)}});
    callbacks_.on_undone(flight->name);
  }
  const int doublings = std::min(before->times - 2, 20);
  const auto time = std::min<std::chrono::nanoseconds>(kFirstPause * (1 << doublings), kLongestPause);
  pause(flight, before->last + time - clock_.steady());
}

void Acknowledgements::pump() {
  while (under_way_ < kAtOnce && !waiting_.empty()) {
    const FlightPointer flight = std::move(waiting_.front());
    waiting_.pop_front();
    if (is_wanted(flight)) {
      send(flight);
    }
  }
}

void Acknowledgements::send(const FlightPointer& flight) {
  flight->is_newer = false;
  if (const auto precondition = kube::Precondition::of(flight->resource_version)) {
    patch(flight, *precondition);
  } else {
    get(flight);
  }
}

void Acknowledgements::get(const FlightPointer& flight) {
  kube::Request request = kube::get_request(resource_, flight->name.object_namespace, flight->name.name);
  ask(flight, std::move(request), &Acknowledgements::got);
}

void Acknowledgements::got(const FlightPointer& flight, const Result<kube::Response>& answer) {
  const auto object = answer ? decoder_.decode(answer->body) : std::unexpected(answer.error());
  if (!object) {
    failed(flight, object.error());
    return;
  }
  if (drain_of(*object) != flight->drain || !is_wanted(flight)) {
    drop(flight);  // the watch is going to show it
  } else if (const auto precondition = kube::Precondition::of(object->resource_version)) {
    patch(flight, *precondition);
  } else {
    failed(flight, {.code = ErrorCode::kInvalid, .message = "the API server shows it without a resourceVersion"});
  }
}

void Acknowledgements::patch(const FlightPointer& flight, const kube::Precondition& precondition) {
  kube::Request request =
      kube::patch_request(resource_, flight->name.object_namespace, flight->name.name, kube::kMergePatch,
                          acknowledgement_body(ring_, flight->drain, precondition), field_manager_);
  request.still_wanted = callbacks_.may_write;
  ask(flight, std::move(request), &Acknowledgements::patched);
}

void Acknowledgements::ask(const FlightPointer& flight, kube::Request request, Then then) {
  ++under_way_;
  request.accept = kube::kCompactMetadata;
  request.lane = kube::Lane::kMove;
  api_.send(std::move(request), [self = shared_from_this(), flight, then](const Result<kube::Response>& answer) {
    --self->under_way_;
    if (!self->stopped_) {
      ((*self).*then)(flight, answer);
      self->pump();
    }
  });
}

void Acknowledgements::patched(const FlightPointer& flight, const Result<kube::Response>& answer) {
  if (answer) {
    succeeded(flight, *answer);
  } else {
    failed(flight, answer.error());
  }
}

void Acknowledgements::failed(const FlightPointer& flight, const Error& error) {
  switch (error.code) {
    case ErrorCode::kNotFound:
    case ErrorCode::kCancelled:
      drop(flight);
      return;
    case ErrorCode::kConflict:
      if (is_wanted(flight) && flight->is_newer) {
        waiting_.push_front(flight);
      } else {
        drop(flight);  // the watch is going to show the newer version
      }
      return;
    default:
      if (is_wanted(flight)) {
        try_again(flight, error);
      }
  }
}

void Acknowledgements::succeeded(const FlightPointer& flight, const kube::Response& answer) {
  remember(flight->name);
  works(flight);
  const auto object = decoder_.decode(answer.body);
  if (object && drain_of(*object) && is_wanted(flight)) {
    begin(flight);  // somebody's webhook undid it, perhaps in a way that no watch shows
    return;
  }
  callbacks_.on_acknowledged();
  drop(flight);
}

// After a patch without an answer, too: if it was carried out, the next one is a conflict.
void Acknowledgements::try_again(const FlightPointer& flight, const Error& error) {
  if (!flight->retries) {
    flight->retries = std::make_unique<kube::Retries>(kube::Retries::Policies{}, seeds_());
  }
  const kube::Retries::Failure failure = flight->retries->failed(error, clock_.steady());
  if (failure.is_news && failing_.begins(flight.get(), error)) {
    log_.warn("drains cannot be acknowledged, they are tried again with growing pauses",
              {{"object", to_string(flight->name)}, {"error", error.message}});
  }
  flight->fails_for_long = failure.lasts;
  pause(flight, failure.pause);
}

void Acknowledgements::pause(const FlightPointer& flight, std::chrono::nanoseconds time) {
  flight->pauses = true;
  api_.loop().post_after(time, [self = shared_from_this(), flight] {
    if (std::exchange(flight->pauses, false)) {
      self->waiting_.push_back(flight);
      self->pump();
    }
  });
}

// It does not fail any more. One that had failed for long works again, so the others may.
void Acknowledgements::works(const FlightPointer& flight) {
  flight->fails_for_long = false;
  if (flight->retries && flight->retries->succeeded(clock_.steady())) {
    hasten();
  }
  end_failure(flight);
}

void Acknowledgements::hasten() {
  for (const auto& [name, flight] : pending_) {
    if (flight->fails_for_long && std::exchange(flight->pauses, false)) {
      waiting_.push_back(flight);
    }
  }
}

// It is not tried again.
void Acknowledgements::drop(const FlightPointer& flight) {
  if (is_wanted(flight)) {
    pending_.erase(flight->name);
  }
  end_failure(flight);
}

void Acknowledgements::end_failure(const FlightPointer& flight) {
  if (failing_.ends(flight.get())) {
    log_.info("no acknowledgement of a drain fails any more");
  }
}

std::optional<std::string_view> Acknowledgements::drain_of(const kube::ObjectMeta& object) const {
  return object.label(shard_label_) == shard_ ? object.label(drain_label_) : std::nullopt;
}

const Acknowledgements::Recent* Acknowledgements::recent(const ObjectName& name) const {
  const auto found = recent_.find(name);
  return found == recent_.end() || clock_.steady() - found->second.last >= kForget ? nullptr : &found->second;
}

// One that is forgotten too early costs a patch that comes too soon.
void Acknowledgements::remember(const ObjectName& name) {
  const Recent* const before = recent(name);
  const int times = before == nullptr ? 1 : before->times + 1;
  if (recent_.size() >= kRemembered) {
    recent_.clear();
  }
  recent_[name] = {.times = times, .last = clock_.steady()};
}

}  // namespace sharder::shard
