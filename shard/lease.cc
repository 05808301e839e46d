#include "shard/lease.h"

#include <utility>

#include "kube/election/leader_election.h"

namespace sharder::shard {

struct Lease::Impl {
  Callbacks callbacks;
  kube::LeaderElection election;
};

Lease::Lease(kube::Api& api, const Clock& clock, const Options& options, Callbacks callbacks, const Logger& log) {
  kube::LeaderElection::Callbacks notify{.on_elected = callbacks.on_acquired, .on_lost = callbacks.on_lost};
  impl_.reset(new Impl{.callbacks = std::move(callbacks),
                       .election = {api, clock,
                                    kube::LeaderElectionOptions{.lease_namespace = options.lease_namespace,
                                                                .lease_name = options.name,
                                                                .identity = options.name,
                                                                .lease_duration = options.lease_duration,
                                                                .renew_deadline = options.renew_deadline,
                                                                .retry_period = options.retry_period},
                                    std::move(notify), log}});
}

Lease::~Lease() = default;

void Lease::start() {
  impl_->election.start();
}

void Lease::stop(std::function<void()> released_when) {
  impl_->election.stop(std::move(released_when));
}

bool Lease::valid() const {
  return impl_->election.leading();
}

}  // namespace sharder::shard
