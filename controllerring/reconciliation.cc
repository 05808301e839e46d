#include "controllerring/reconciliation.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "controllerring/apply_conflict.h"
#include "controllerring/mark_conditions.h"
#include "controllerring/status.h"
#include "kube/client/lasting_failure.h"
#include "kube/client/resource.h"
#include "kube/codec/json.h"

namespace sharder::controllerring {

namespace {

constexpr int kMaxStatusConflicts = 3;
constexpr int kMaxChangesMeanwhile = 3;

std::vector<ring::GroupResource> all_resources(const ring::ControllerRing& ring) {
  std::vector<ring::GroupResource> found;
  for (const ring::RingResource& resource : ring.resources) {
    found.push_back(resource.main);
    found.insert(found.end(), resource.controlled.begin(), resource.controlled.end());
  }
  return found;
}

// cert-manager.io/inject-ca-from, service.beta.openshift.io/inject-cabundle and the like.
bool asks_for_injection(const std::map<std::string, std::string>& annotations) {
  return std::ranges::any_of(annotations, [](const auto& each) { return each.first.contains("/inject-"); });
}

// The API server has just answered, so an error that is no outage lasts: the resource does not exist, or the aggregated
// API server that serves it does not answer.
Error missing_resource(const ring::GroupResource& resource, const Error& error) {
  if (kube::is_outage(error)) {
    return error;
  }
  const bool absent = error.code == ErrorCode::kNotFound;
  return {.code = ErrorCode::kNotFound,
          .message = "resource \"" + to_string(resource) + "\" is not served by the API server" +
                     (absent ? "" : ": " + error.message)};
}

}  // namespace

kube::Request read_by_patch(const std::string& configuration) {
  return {.method = kube::Method::kPatch,
          .target = kube::path(kube::kMutatingWebhookConfigurations, "", configuration, {}, {{"dryRun", "All"}}),
          .body = "{}",
          .content_type = std::string(kube::kMergePatch)};
}

Reconciliation::Reconciliation(std::shared_ptr<Tools> tools, std::shared_ptr<const ring::RingStatus> ring, Known known,
                               Narrowing narrowing, Conflicts conflicts, LiveCaBundle live_ca_bundle, Done done)
    : tools_(std::move(tools)),
      webhook_(tools_->options.webhook),
      ring_(std::move(ring)),
      known_(std::move(known)),
      narrowing_(narrowing),
      conflicts_(conflicts),
      live_ca_bundle_(live_ca_bundle),
      done_(std::move(done)) {}

template <class F>
void Reconciliation::post(F f) {
  tools_->control.post([self = shared_from_this(), f = std::move(f)]() mutable {
    if (!self->dropped_) {
      f(*self);
    }
  });
}

void Reconciliation::send(kube::Request request, Step then) {
  request.still_wanted = [self = shared_from_this()] { return !self->dropped_; };
  tools_->api.send(std::move(request), [self = shared_from_this(), then,
                                        ticket = tools_->leader_work.enter()](Result<kube::Response> answer) {
    self->post([then, answer = std::move(answer)](Reconciliation& run) mutable { (run.*then)(std::move(answer)); });
  });
}

void Reconciliation::note(Error error) {
  if (report_.error) {
    report_.error->message += "; " + error.message;
  } else {
    report_.error = std::move(error);
  }
}

std::string Reconciliation::message() const {
  if (!report_.error || known_.trouble.empty()) {
    return report_.error ? report_.error->message : known_.trouble;
  }
  return report_.error->message + "; " + known_.trouble;
}

void Reconciliation::start() {
  if (!ring_->spec_error.empty()) {
    note({.code = ErrorCode::kInvalid, .message = ring_->spec_error});
    read_ring();
  } else if (tools_->waits_for_ca_bundle()) {
    note({.code = ErrorCode::kInvalid, .message = "the webhook configuration waits for the webhook's certificate"});
    resolve_resources();
  } else if (looks_at_ca_bundle()) {
    read_ca_bundle();
  } else {
    apply();
  }
}

bool Reconciliation::looks_at_ca_bundle() const {
  // A url without a caBundle stands for the roots of the API server's machine, unless somebody is to inject one.
  return live_ca_bundle_ == LiveCaBundle::kKeepOurs && webhook_.client_config.ca_bundle.empty() &&
         (webhook_.client_config.url.empty() || asks_for_injection(webhook_.annotations));
}

void Reconciliation::read_ca_bundle() {
  const std::string configuration = webhook_configuration_name(spec().name);
  send(reads_by_patch_ ? read_by_patch(configuration)
                       : kube::get_request(kube::kMutatingWebhookConfigurations, "", configuration),
       &Reconciliation::ca_bundle_read);
}

void Reconciliation::ca_bundle_read(Result<kube::Response> answer) {
  if (answer) {
    live_ = std::move(answer->body);
    apply();
  } else if (answer.error().code == ErrorCode::kForbidden && !reads_by_patch_) {
    reads_by_patch_ = true;
    read_ca_bundle();
  } else if (answer.error().code == ErrorCode::kNotFound) {
    live_.reset();
    apply();
  } else {
    configuration_failed("read", std::move(answer.error()));
  }
}

void Reconciliation::apply() {
  std::string body = webhook_configuration(spec(), webhook_, ca_bundle_);
  auto with_bundle = live_ && looks_at_ca_bundle() && ca_bundle_ == CaBundle::kAsConfigured
                         ? with_own_ca_bundle(body, *live_)
                         : std::nullopt;
  keeps_ca_bundle_ = with_bundle.has_value();
  if (with_bundle) {
    body = std::move(*with_bundle);
  }
  report_.contest = Contest::kNone;
  if (auto narrowed = keeps_selector_ && live_ ? with_narrowed_selector(body, *live_) : std::nullopt) {
    body = std::move(*narrowed);
    report_.contest = Contest::kNarrowed;
  }
  send(kube::apply_request(kube::kMutatingWebhookConfigurations, "", webhook_configuration_name(spec().name),
                           std::move(body), kFieldManager, force_),
       &Reconciliation::applied);
}

void Reconciliation::applied(Result<kube::Response> answer) {
  if (!answer) {
    apply_failed(std::move(answer.error()));
    return;
  }
  report_.configuration = std::move(answer->body);
  if (force_) {
    report_.contest = Contest::kTakenBack;
  }
  report_.ca_bundle_is_left = looks_at_ca_bundle() && !keeps_ca_bundle_;
  resolve_resources();
}

// Each retry leaves less that can conflict, so there are at most three: without the caBundle, with the
// namespaceSelector that another manager narrowed, and with force.
void Reconciliation::apply_failed(Error error) {
  const std::string configuration = webhook_configuration_name(spec().name);
  const auto conflict = parse_apply_conflict(error);
  if (error.code == ErrorCode::kConflict && !conflict && keeps_ca_bundle_ &&
      ++changes_meanwhile_ <= kMaxChangesMeanwhile) {
    force_ = false;    // of what conflicts now, the caBundle may be a part
    read_ca_bundle();  // somebody has changed the configuration since it was read
    return;
  }
  const bool is_configured =
      !webhook_.client_config.ca_bundle.empty() && !webhook_.ca_bundle_is_ours && ca_bundle_ == CaBundle::kAsConfigured;
  // One that gives way to another manager's.
  const bool with_ca_bundle = is_configured || keeps_ca_bundle_;
  if (conflict) {
    report_.managers = joined(conflict->managers, ", ", [](const std::string& name) { return '"' + name + '"'; });
  }
  if (conflict && with_ca_bundle && conflict->ca_bundle) {
    if (is_configured) {
      note({.code = ErrorCode::kForbidden,
            .message = "the caBundle of webhook configuration " + configuration + " is managed by " + report_.managers +
                       " and stays as it is"});
    }
    ca_bundle_ = CaBundle::kLeaveOut;
    apply();
    return;
  }
  if (conflict && narrowing_ == Narrowing::kLeave) {
    narrowing_ = Narrowing::kTakeBack;  // all other fields
    send(kube::get_request(kube::kMutatingWebhookConfigurations, "", configuration), &Reconciliation::selector_read);
    return;
  }
  // With an incomplete message the caBundle may be one of the fields.
  if (conflict && !force_ && (!with_ca_bundle || conflict->complete)) {
    if (conflicts_ == Conflicts::kLeave) {
      report_.contest = Contest::kPostponed;
      resolve_resources();
      return;
    }
    force_ = true;
    apply();
    return;
  }
  report_.contest = Contest::kNone;
  configuration_failed("apply", std::move(error));
}

void Reconciliation::configuration_failed(const std::string& what, Error error) {
  const bool is_unanswered = kube::is_unanswered(error);
  error.message.insert(0, what + " webhook configuration: ");
  note(std::move(error));
  if (is_unanswered) {
    read_ring();  // discovery would get no answer either
  } else {
    resolve_resources();
  }
}

// Where reading is not permitted, the selector is taken back like every other field.
void Reconciliation::selector_read(Result<kube::Response> answer) {
  if (answer) {
    live_ = std::move(answer->body);
    keeps_selector_ = true;
  }
  apply();
}

void Reconciliation::resolve_resources() {
  const auto resources = all_resources(spec());
  unresolved_ = resources.size();
  if (resources.empty()) {
    read_ring();
    return;
  }
  for (std::size_t place = 0; place < resources.size(); ++place) {
    const ring::GroupResource& resource = resources[place];
    tools_->discovery.resolve(
        resource.group, resource.resource, [self = shared_from_this(), place, resource](Result<kube::Resource> found) {
          std::optional<Error> error;
          if (!found) {
            error = missing_resource(resource, found.error());
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
  for (auto& [position, missing] : missing_) {
    note(std::move(missing));
  }
  read_ring();
}

void Reconciliation::read_ring() {
  send(kube::get_request(kube::kControllerRings, "", spec().name), &Reconciliation::write_status);
}

void Reconciliation::write_status(Result<kube::Response> ring) {
  if (!ring) {
    status_written(std::move(ring));
    return;
  }
  if (const auto object = kube::parse_json(ring->body);
      object && kube::string_at(*object, "/metadata/uid") != spec().uid) {
    finish();  // there is another ring of the same name: the watch is about to show it
    return;
  }
  Outcome outcome{.generation = spec().generation,
                  .shards = static_cast<std::int64_t>(ring_->shards.size()),
                  .available_shards = ring_->available_shards,
                  .others = known_.others,
                  .marks = mark_conditions(*ring_)};
  if (std::string text = message(); !text.empty()) {
    outcome.error = std::move(text);
  }
  auto body = status_body(ring->body, outcome, tools_->clock.wall());
  if (!body) {
    status_written(std::unexpected(std::move(body.error())));
  } else if (!*body) {
    finish();
  } else {
    send(kube::update_request(kube::kControllerRings, "", spec().name, "status", **body, kFieldManager),
         &Reconciliation::status_written);
  }
}

void Reconciliation::status_written(Result<kube::Response> answer) {
  if (!answer && answer.error().code == ErrorCode::kConflict && ++status_conflicts_ <= kMaxStatusConflicts) {
    read_ring();
    return;
  }
  // A ring that is gone needs no status; the watch is about to show it.
  if (!answer && answer.error().code != ErrorCode::kNotFound) {
    note(fail("update status", std::move(answer.error())).error());
  }
  finish();
}

void Reconciliation::finish() {
  report_.message = message();
  done_(report_);
}

}  // namespace sharder::controllerring
