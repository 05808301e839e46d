#pragma once

#include <memory>

#include "base/clock.h"
#include "kube/access/config.h"
#include "kube/client/api.h"
#include "kube/election/election_options.h"
#include "shard/lease.h"

// What this project's own parts need of a Lease and of Options; not installed.
namespace sharder::shard {

struct LeaseAccess {
  // A Lease over an Api of the caller. `api` and `clock` outlive it. Needs ring, name and lease_namespace; throws
  // std::invalid_argument when one is missing or the durations do not fit.
  static std::unique_ptr<Lease> over(kube::Api& api, const Clock& clock, const Options& options,
                                     Lease::Callbacks callbacks, const Logger& log);
};

// Fills in the name and the namespace of the Lease, and finds the API server. kInvalid says what is missing or wrong.
Result<kube::ClusterConfig> complete(Options& options);

// How kube/election holds such a Lease. Throws as LeaseAccess::over() does.
kube::LeaderElectionOptions election_options(const Options& options);

}  // namespace sharder::shard
