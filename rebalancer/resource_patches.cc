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
  if (all_done && !refused_in_pass_) {
    granted();  // at least nothing is kept from us
  }
}

void ResourcePatches::granted() {
  if (refusal_.pending()) {
    refusal_.succeeded(tools_->clock.steady());
    on_trouble_(std::nullopt);
  }
}

// As a rule what kept one from being moved kept all. Where it did not, those that fail are not tried with each success.
bool ResourcePatches::succeeded() {
  const SteadyTime now = tools_->clock.steady();
  is_slow_ = false;
  if (!failing_ || now < hastened_ + kQuiet) {
    return false;
  }
  hastened_ = now;
  return true;
}

bool ResourcePatches::forbidden(const Error& error) {
  const SteadyTime now = tools_->clock.steady();
  refused_in_pass_ = true;
  paused_until_ = now + kForbiddenPause;
  refusal_.failed(error, now);
  if (refusal_.lasts()) {
    on_trouble_(error);
  }
  return refusal_.lasts();
}

// Told once for all objects of a resource: as a rule what keeps one from being moved keeps all.
void ResourcePatches::fails(const std::string& object, const Error& error) {
  if (std::exchange(failing_, tools_->clock.steady())) {
    return;
  }
  on_trouble_(error);
  log_.warn("objects of a resource cannot be moved, they are tried again",
            {{"object", object}, {"error", error.message}});
  tools_->events.record(ring_, kube::EventType::kWarning, "MoveFailed",
                        "Cannot move " + object + " and perhaps others: " + error.message);
}

void ResourcePatches::look(bool all_done) {
  if (failing_ && (all_done || tools_->clock.steady() >= *failing_ + kQuiet)) {
    failing_.reset();
    log_.info("objects of a resource can be moved again", {{"resource", resource_}});
    on_trouble_(std::nullopt);
  }
}

}  // namespace sharder::rebalancer
