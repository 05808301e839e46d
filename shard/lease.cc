#include "shard/lease.h"

#include <stdexcept>
#include <utility>

#include "kube/election/leader_election.h"
#include "ring/names.h"

namespace sharder::shard {

kube::LeaderElectionOptions election_options(const Options& options) {
  if (options.ring.empty() || options.name.empty() || options.lease_namespace.empty()) {
    throw std::invalid_argument("shard: ring, name and Lease namespace are needed");
  }
  return {.lease_namespace = options.lease_namespace,
          .lease_name = options.name,
          .identity = options.name,
          .labels = {{std::string(ring::kRingLabel), options.ring}},
          .unique_identity = false,
          .lease_duration = options.lease_duration,
          .renew_deadline = options.renew_deadline,
          .retry_period = options.retry_period};
}

struct Lease::Impl {
  kube::LeaderElection election;
};

Lease::Lease(kube::Api& api, const Clock& clock, const Options& options, Callbacks callbacks, const Logger& log)
    : impl_(new Impl{{api, clock, election_options(options),
                      kube::LeaderElection::Callbacks{.on_elected = std::move(callbacks.on_acquired),
                                                      .on_lost = std::move(callbacks.on_lost),
                                                      .on_renewed = std::move(callbacks.on_renewed)},
                      log}}) {}

Lease::~Lease() = default;

void Lease::start() {
  impl_->election.start();
}

void Lease::stop(std::function<void()> released_when) {
  impl_->election.stop(std::move(released_when));
}

void Lease::abandon() {
  impl_->election.abandon();
}

bool Lease::valid() const {
  return impl_->election.leading();
}

BootTime Lease::valid_until() const {
  return impl_->election.valid_until();
}

}  // namespace sharder::shard
