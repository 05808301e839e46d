#include "shard/acknowledgements.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "base/backoff.h"
#include "kube/client/failure_class.h"
#include "ring/names.h"

namespace sharder::shard {

namespace {

constexpr BackoffPolicy kTransient{};
constexpr BackoffPolicy kPermanent{.initial = std::chrono::seconds(2), .max = std::chrono::minutes(2)};

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

Acknowledgements::Acknowledgements(kube::Api& api, kube::Resource resource, std::string ring, std::string shard,
                                   std::string field_manager, Callbacks callbacks, Logger log)
    : api_(api),
      resource_(std::move(resource)),
      ring_(std::move(ring)),
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
  waiting_.push_back(flight);
  pump();
}

void Acknowledgements::stop() {
  stopped_ = true;
  pending_.clear();
  waiting_.clear();
}

bool Acknowledgements::is_wanted(const FlightPointer& flight) const {
  const auto pending = pending_.find(flight->name);
  return pending != pending_.end() && pending->second == flight;
}

void Acknowledgements::pump() {
  while (under_way_ < kAtOnce && !waiting_.empty()) {
    const FlightPointer flight = std::move(waiting_.front());
    waiting_.pop_front();
    if (is_wanted(flight)) {
      ++under_way_;
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
  request.accept = kube::kCompactMetadata;
  request.lane = kube::Lane::kMove;
  api_.send(std::move(request), [self = shared_from_this(), flight](const Result<kube::Response>& answer) {
    if (!self->stopped_) {
      self->got(flight, answer ? self->decoder_.decode(answer->body) : std::unexpected(answer.error()));
    }
  });
}

void Acknowledgements::got(const FlightPointer& flight, const Result<kube::ObjectMeta>& object) {
  if (!object) {
    failed(flight, object.error());
    return;
  }
  const bool drains_so =
      object->label(ring::shard_label(ring_)) == shard_ && object->label(ring::drain_label(ring_)) == flight->drain;
  if (!drains_so || !is_wanted(flight)) {
    finish(flight);  // the watch is going to show it
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
  request.accept = kube::kCompactMetadata;
  request.lane = kube::Lane::kMove;
  request.still_wanted = callbacks_.may_write;
  api_.send(std::move(request), [self = shared_from_this(), flight](const Result<kube::Response>& answer) {
    if (!self->stopped_) {
      self->patched(flight, answer);
    }
  });
}

void Acknowledgements::patched(const FlightPointer& flight, const Result<kube::Response>& answer) {
  if (answer) {
    callbacks_.on_acknowledged();
    finish(flight);
  } else {
    failed(flight, answer.error());
  }
}

void Acknowledgements::failed(const FlightPointer& flight, const Error& error) {
  switch (error.code) {
    case ErrorCode::kNotFound:
    case ErrorCode::kCancelled:
      finish(flight);
      return;
    case ErrorCode::kConflict:
      if (is_wanted(flight) && flight->is_newer) {
        send(flight);
      } else {
        finish(flight);  // the watch is going to show the newer version
      }
      return;
    default:
      try_again(flight, error);
  }
}

// After a patch without an answer, too: if it was carried out, the next one is a conflict.
void Acknowledgements::try_again(const FlightPointer& flight, const Error& error) {
  const bool is_permanent = kube::is_permanent(error);
  if (flight->failures == 0 && is_permanent) {
    log_.warn("a drain cannot be acknowledged, it is tried again with growing pauses",
              {{"object", to_string(flight->name)}, {"error", error.message}});
  }
  const auto pause = backoff_pause(is_permanent ? kPermanent : kTransient, flight->failures++, random_);
  api_.loop().post_after(pause, [self = shared_from_this(), flight] {
    if (self->is_wanted(flight)) {
      self->send(flight);
    } else {
      self->finish(flight);
    }
  });
}

void Acknowledgements::finish(const FlightPointer& flight) {
  if (is_wanted(flight)) {
    pending_.erase(flight->name);
  }
  --under_way_;
  pump();
}

}  // namespace sharder::shard
