#include "controllerring/reconciliation.h"

#include <algorithm>
#include <utility>

#include "controllerring/status.h"
#include "controllerring/webhook_configuration.h"
#include "kube/resource.h"

namespace sharder::controllerring {
namespace {

constexpr std::string_view kFieldManager = "controllerring-controller";  // protocol, 2 and 5
constexpr std::string_view kFailedReason = "ReconciliationFailed";

// Main and controlled resources, each once, the first of the spec last.
std::vector<ring::GroupResource> resources_of(const ring::ControllerRing& spec) {
  std::vector<ring::GroupResource> resources;
  const auto add = [&resources](const ring::GroupResource& resource) {
    if (std::ranges::find(resources, resource) == resources.end()) {
      resources.push_back(resource);
    }
  };
  for (const ring::RingResource& resource : spec.resources) {
    add(resource.main);
    std::ranges::for_each(resource.controlled, add);
  }
  std::ranges::reverse(resources);
  return resources;
}

}  // namespace

std::shared_ptr<Reconciliation> Reconciliation::start(std::shared_ptr<Tools> tools,
                                                      std::shared_ptr<const ring::RingStatus> ring, Done done) {
  auto made = std::make_shared<Reconciliation>(std::move(tools), std::move(ring), std::move(done));
  // Posted, so that `done` never runs within this call.
  made->tools_->control.post([made] {
    if (!made->ring_->spec_error.empty()) {
      made->fail_with({.code = ErrorCode::kInvalid, .message = made->ring_->spec_error});
    } else {
      made->discover_next();
    }
  });
  return made;
}

Reconciliation::Reconciliation(std::shared_ptr<Tools> tools, std::shared_ptr<const ring::RingStatus> ring, Done done)
    : tools_(std::move(tools)), ring_(std::move(ring)), done_(std::move(done)), resources_(resources_of(spec())) {}

void Reconciliation::discover_next() {
  if (dropped_) {
    return;
  }
  if (resources_.empty()) {
    apply(/*force=*/false);
    return;
  }
  const ring::GroupResource resource = std::move(resources_.back());
  resources_.pop_back();
  tools_->discovery.resolve(resource.group, resource.resource,
                            [self = shared_from_this(), resource](Result<kube::Resource> found) {
                              self->tools_->control.post([self, resource, found = std::move(found)]() mutable {
                                if (self->dropped_) {
                                  return;
                                }
                                if (!found) {
                                  found.error().message.insert(0, "resource " + ring::to_string(resource) + ": ");
                                  self->fail_with(std::move(found).error());
                                } else {
                                  self->discover_next();
                                }
                              });
                            });
}

void Reconciliation::apply(bool force) {
  send(kube::apply_request(kube::kMutatingWebhookConfigurations, "", webhook_configuration_name(spec().name),
                           webhook_configuration(spec(), tools_->settings.webhook), kFieldManager, force),
       [this, force](Result<kube::Response> answer) {
         if (answer) {
           read_ring();
         } else {
           on_apply_failed(std::move(answer).error(), force);
         }
       });
}

// The API server's message names the fields and who owns them: `Apply failed with 1 conflict: conflict with "x" using
// admissionregistration.k8s.io/v1: .webhooks[name="..."].timeoutSeconds`.
void Reconciliation::on_apply_failed(Error error, bool forced) {
  if (error.code == ErrorCode::kConflict && !forced) {
    if (error.message.contains("caBundle")) {
      warn_by_event("WebhookConflict", "the caBundle belongs to somebody else, nothing was changed: " + error.message);
    } else {
      warn_by_event("WebhookConflict", "took back what somebody else changed: " + error.message);
      apply(/*force=*/true);
      return;
    }
  }
  error.message.insert(0, "apply webhook configuration: ");
  fail_with(std::move(error));
}

void Reconciliation::read_ring() {
  send(kube::get_request(kube::kControllerRings, "", spec().name), [this](Result<kube::Response> answer) {
    if (answer) {
      write_status(answer->body);
      return;
    }
    Error error = std::move(answer).error();
    if (error.code == ErrorCode::kNotFound) {
      finish();  // it went; that is told by the watch
      return;
    }
    error.message.insert(0, "read ring: ");
    error_ = error_.value_or(std::move(error));
    finish();
  });
}

void Reconciliation::write_status(const std::string& object) {
  const Outcome outcome{.generation = spec().generation,
                        .failure = error_ ? std::optional(error_->message) : std::nullopt,
                        .shards = static_cast<std::int64_t>(ring_->shards.size()),
                        .available_shards = ring_->available_shards};
  auto body = updated_status(object, outcome, tools_->clock.wall());
  if (!body || !*body) {
    if (!body) {
      error_ = error_.value_or(std::move(body).error());
    }
    finish();
    return;
  }
  send(kube::update_request(kube::kControllerRings, "", spec().name, "status", std::move(**body), kFieldManager),
       [this](Result<kube::Response> answer) {
         if (!answer && answer.error().code != ErrorCode::kNotFound) {
           answer.error().message.insert(0, "write status: ");
           error_ = error_.value_or(std::move(answer).error());
         }
         finish();
       });
}

void Reconciliation::finish() {
  done_(std::move(error_));
}

// A server that is away or busy is no fault of the ring: that is only tried again.
void Reconciliation::fail_with(Error error) {
  error_ = std::move(error);
  if (error_->code == ErrorCode::kUnavailable || error_->code == ErrorCode::kTimeout ||
      error_->code == ErrorCode::kCancelled) {
    finish();
    return;
  }
  warn_by_event(kFailedReason, error_->message);
  read_ring();
}

void Reconciliation::warn_by_event(std::string_view reason, std::string_view message) const {
  tools_->events.record({.api_version = kube::kControllerRings.group + "/" + kube::kControllerRings.version,
                         .kind = kube::kControllerRings.kind,
                         .object_namespace = "",
                         .name = spec().name,
                         .uid = spec().uid},
                        kube::EventType::kWarning, reason, message);
}

void Reconciliation::send(kube::Request request, std::function<void(Result<kube::Response>)> then) {
  ++tools_->requests_in_flight;
  tools_->api.send(std::move(request),
                   [self = shared_from_this(), then = std::move(then)](Result<kube::Response> answer) mutable {
                     --self->tools_->requests_in_flight;
                     self->tools_->control.post([self, then = std::move(then), answer = std::move(answer)]() mutable {
                       if (!self->dropped_) {
                         then(std::move(answer));
                       }
                     });
                   });
}

}  // namespace sharder::controllerring
