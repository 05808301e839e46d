#pragma once

#include <string_view>

#include "base/error.h"
#include "ring/ring_object.h"

namespace sharder::membership {

// From a ControllerRing object's JSON. kInvalid only when it is no object with a name.
Result<ring::RingObject> decode_ring(std::string_view json);

}  // namespace sharder::membership
