#pragma once

#include <vector>

#include "ring/controller_ring.h"

namespace sharder::ring {

// The resources of a ring, each once, main ones first.
std::vector<GroupResource> resources_of(const ControllerRing& spec);

}  // namespace sharder::ring
