#include "controllerring/reconciliation.h"

#include <utility>
#include <vector>

#include "controllerring/apply_conflict.h"
#include "controllerring/status.h"
#include "kube/json.h"
#include "kube/resource.h"

namespace sharder::controllerring {

namespace {

constexpr int kMaxStatusConflicts = 3;

std::vector<ring::GroupResource> all_resources(const ring::ControllerRing& ring) {
  std::vector<ring::GroupResource> found;
  for (const ring::RingResource& resource : ring.resources) {
    found.push_back(resource.main);
    found.insert(found.end(), resource.controlled.begin(), resource.controlled.end());
  }
  return found;
}

std::string join(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) {
    text += (text.empty() ? "\"" : ", \"") + name + "\"";
  }
  return text;
}

Error missing_resource(const ring::GroupResource& resource, Error error) {
  const bool absent = error.code == ErrorCode::kNotFound;
  error.message =
      "resource \"" + to_string(resource) + "\"" + (absent ? " is not served by the API server" : ": " + error.message);
  return error;
}

}  // namespace

Reconciliation::Reconciliation(std::shared_ptr<Tools> tools, std::shared_ptr<const ring::RingStatus> ring,
                               std::optional<Error> trouble, Done done)
    : tools_(std::move(tools)), ring_(std::move(ring)), trouble_(std::move(trouble)), done_(std::move(done)) {}

template <class F>
void Reconciliation::post(F f) {
  tools_->control.post([self = shared_from_this(), f = std::move(f)]() mutable {
    if (!self->dropped_) {
      f(*self);
    }
  });
}

void Reconciliation::send(kube::Request request, Step then) {
  ++tools_->requests_in_flight;
  tools_->api.send(std::move(request), [self = shared_from_this(), then](Result<kube::Response> answer) {
    --self->tools_->requests_in_flight;
    self->post([then, answer = std::move(answer)](Reconciliation& run) mutable { (run.*then)(std::move(answer)); });
  });
}

void Reconciliation::start() {
  if (ring_->spec_error.empty()) {
    resolve_resources();
  } else {
    report_.error = Error{.code = ErrorCode::kInvalid, .message = ring_->spec_error};
    read_ring();
  }
}

void Reconciliation::resolve_resources() {
  const auto resources = all_resources(spec());
  unresolved_ = resources.size();
  if (resources.empty()) {
    apply();
    return;
  }
  for (std::size_t place = 0; place < resources.size(); ++place) {
    const ring::GroupResource& resource = resources[place];
    tools_->discovery.resolve(
        resource.group, resource.resource, [self = shared_from_this(), place, resource](Result<kube::Resource> found) {
          std::optional<Error> error;
          if (!found) {
            error = missing_resource(resource, std::move(found.error()));
          }
          self->post([place, error = std::move(error)](Reconciliation& run) { run.resolved(place, error); });
        });
  }
}

void Reconciliation::resolved(std::size_t place, std::optional<Error> error) {
  if (error) {
    missing_.emplace(place, std::move(*error));
  }
  if (--unresolved_ > 0) {
    return;
  }
  if (missing_.empty()) {
    apply();
  } else {
    report_.error = missing_.begin()->second;
    read_ring();
  }
}

void Reconciliation::apply() {
  send(kube::apply_request(kube::kMutatingWebhookConfigurations, "", webhook_configuration_name(spec().name),
                           webhook_configuration(spec(), tools_->settings.webhook, ca_bundle_), kFieldManager, force_),
       &Reconciliation::applied);
}

void Reconciliation::applied(Result<kube::Response> answer) {
  if (!answer) {
    apply_failed(std::move(answer.error()));
    return;
  }
  if (const auto object = kube::parse_json(answer->body)) {
    report_.applied_version = kube::string_at(*object, "/metadata/resourceVersion");
  }
  read_ring();
}

// Each retry leaves less that can conflict, so there are at most two: without the caBundle, and with force.
void Reconciliation::apply_failed(Error error) {
  const std::string configuration = webhook_configuration_name(spec().name);
  const auto conflict = parse_apply_conflict(error);
  const bool with_ca_bundle =
      !tools_->settings.webhook.client_config.ca_bundle.empty() && ca_bundle_ == CaBundle::kAsConfigured;
  if (conflict && with_ca_bundle && conflict->ca_bundle) {
    report_.error = Error{.code = ErrorCode::kForbidden,
                          .message = "the caBundle of webhook configuration " + configuration + " is managed by " +
                                     join(conflict->managers) + " and stays as it is"};
    ca_bundle_ = CaBundle::kLeaveOut;
    apply();
    return;
  }
  // With an incomplete message the caBundle may be one of the fields.
  if (conflict && !force_ && (!with_ca_bundle || conflict->complete)) {
    tools_->events.record(
        reference(), kube::EventType::kWarning, "FieldConflict",
        "Took over fields of webhook configuration " + configuration + " that were set by " + join(conflict->managers));
    tools_->log.warn("taking over fields of a webhook configuration",
                     {{"ring", spec().name}, {"error", error.message}});
    force_ = true;
    apply();
    return;
  }
  error.message.insert(0, "apply webhook configuration: ");
  report_.error = std::move(error);
  read_ring();
}

void Reconciliation::read_ring() {
  if (!report_.error) {
    report_.error = trouble_;
  }
  send(kube::get_request(kube::kControllerRings, "", spec().name), &Reconciliation::write_status);
}

void Reconciliation::write_status(Result<kube::Response> ring) {
  if (!ring) {
    status_written(std::move(ring));
    return;
  }
  if (const auto object = kube::parse_json(ring->body);
      object && kube::string_at(*object, "/metadata/uid") != spec().uid) {
    finish();  // another ring of the same name: the watch is about to show it
    return;
  }
  Outcome outcome{.generation = spec().generation,
                  .shards = static_cast<std::int64_t>(ring_->shards.size()),
                  .available_shards = ring_->available_shards};
  if (report_.error) {
    outcome.error = report_.error->message;
  }
  auto body = status_body(ring->body, outcome, tools_->clock.wall());
  if (!body) {
    status_written(std::unexpected(std::move(body.error())));
  } else if (!*body) {
    finish();
  } else {
    send(kube::update_request(kube::kControllerRings, "", spec().name, "status", std::move(**body), kFieldManager),
         &Reconciliation::status_written);
  }
}

void Reconciliation::status_written(Result<kube::Response> answer) {
  if (!answer && answer.error().code == ErrorCode::kConflict && ++status_conflicts_ <= kMaxStatusConflicts) {
    read_ring();
    return;
  }
  // A ring that is gone needs no status; the watch is about to show it.
  if (!answer && answer.error().code != ErrorCode::kNotFound && !report_.error) {
    report_.error = std::move(answer.error());
    report_.error->message.insert(0, "update status: ");
  }
  finish();
}

void Reconciliation::finish() {
  done_(report_);
}

}  // namespace sharder::controllerring
