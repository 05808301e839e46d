#include "rebalancer/resource_patches.h"

#include <algorithm>
#include <utility>

namespace sharder::rebalancer {

ResourcePatches::ResourcePatches(std::shared_ptr<Tools> tools, kube::ObjectReference ring, std::string resource,
                                 OnTrouble on_trouble)
    : tools_(std::move(tools)),
      ring_(std::move(ring)),
      resource_(std::move(resource)),
      on_trouble_(std::move(on_trouble)),
      log_(tools_->log.with({{"ring", ring_.name}})) {}

bool ResourcePatches::may_send(std::size_t in_flight, std::size_t places, SteadyTime now) const {
  const std::size_t share = is_slow_ ? std::max<std::size_t>(places / kSlowShare, 1) : places;
  return now >= paused_until_ && in_flight < share;
}

void ResourcePatches::pass_ended(bool all_done) {
  if (all_done && !not_permitted_in_pass_) {
    permitted();  // whatever moved was permitted
  }
}

void ResourcePatches::permitted() {
  if (permission_failure_.succeeded(tools_->clock.steady())) {
    on_trouble_(std::nullopt);
    if (failing_) {
      on_trouble_(failing_->error);
    }
  }
}

// Objects usually fail for the same reason, so one success means that all may be tried. In case they do not, this
// happens once in kQuiet, not with each success.
bool ResourcePatches::succeeded() {
  const SteadyTime now = tools_->clock.steady();
  is_slow_ = false;
  if (!failing_ || now < hastened_ + kQuiet) {
    return false;
  }
  hastened_ = now;
  return true;
}

bool ResourcePatches::not_permitted(const Error& error) {
  const SteadyTime now = tools_->clock.steady();
  not_permitted_in_pass_ = true;
  paused_until_ = now + kNotPermittedPause;
  permission_failure_.failed(error, now);
  if (permission_failure_.lasts()) {
    on_trouble_(error);
  }
  return permission_failure_.lasts();
}

// Reported once for all objects of a resource: they usually fail for the same reason.
void ResourcePatches::fails(const std::string& object, const Error& error) {
  const bool is_known = failing_.has_value();
  failing_ = {.last = tools_->clock.steady(), .error = error};
  if (is_known) {
    return;
  }
  on_trouble_(error);
  log_.warn("objects of a resource cannot be moved, they are tried again",
            {{"object", object}, {"error", error.message}});
  tools_->events.record(ring_, kube::EventType::kWarning, "MoveFailed",
                        "Cannot move " + object + " and perhaps others: " + error.message);
}

void ResourcePatches::look(bool all_done) {
  if (failing_ && (all_done || tools_->clock.steady() >= failing_->last + kQuiet)) {
    failing_.reset();
    log_.info("objects of a resource can be moved again", {{"resource", resource_}});
    if (!permission_failure_.lasts()) {
      on_trouble_(std::nullopt);
    }
  }
}

}  // namespace sharder::rebalancer
