#pragma once

#include <vector>

#include "ops/status.h"
#include "rebalancer/report.h"
#include "ring/ring_set.h"
#include "ring/snapshot.h"

namespace sharder::app {

// The rings of the status page, by name. Both may be null: not synced yet. `report` is empty where this replica does
// not lead. Pure.
std::vector<ops::RingStatus> ring_lines(const ring::Snapshot* snapshot, const ring::RingSet* ring_set,
                                        const rebalancer::Report& report);

}  // namespace sharder::app
