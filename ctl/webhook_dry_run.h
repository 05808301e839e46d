#pragma once

#include <optional>

#include "ctl/cluster.h"
#include "ctl/ring_checks.h"
#include "ctl/rings.h"
#include "ctl/selection.h"

namespace sharder::ctl {

// Has the API server call the ring's webhook, without changing anything: the creation of an object of `resource`, or,
// where such an object needs more than a name, an update of `example` that takes its shard label away. The ring has
// members. `example`: an object that the ring selects.
DryRun try_webhook(Cluster& cluster, const Options& options, const RingFacts& ring, const RingResource& resource,
                   const Selection& selection, const std::optional<kube::ObjectMeta>& example);

}  // namespace sharder::ctl
