#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"

namespace sharder::controllerring {

// The field managers with which a server-side apply conflicted: a plain value.
struct ApplyConflict {
  std::vector<std::string> managers;  // sorted, unique
  bool ca_bundle = false;             // a clientConfig.caBundle is among the fields
  // Whether the message names all fields. A long message may have been cut: then the caBundle may be one of the others.
  bool complete = true;
};

// Reads the message of a 409 to an apply: "Apply failed with 1 conflict: conflict with "kubectl" using
// v1: .spec.x", or "... 2 conflicts: conflicts with "a":\n- .x\n- .y". nullopt for any other error.
std::optional<ApplyConflict> parse_apply_conflict(const Error& error);

}  // namespace sharder::controllerring
