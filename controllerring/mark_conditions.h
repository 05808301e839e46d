#pragma once

#include <vector>

#include "controllerring/status.h"
#include "ring/snapshot.h"

namespace sharder::controllerring {

// What has become of the marks that users put on a ring and its shards (protocol, 12), as conditions of the ring.
std::vector<MarkCondition> mark_conditions(const ring::RingStatus& ring);

}  // namespace sharder::controllerring
