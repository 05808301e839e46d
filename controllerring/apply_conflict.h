#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"

namespace sharder::controllerring {

// With whom a server-side apply conflicted: a plain value.
struct ApplyConflict {
  std::vector<std::string> managers;  // sorted, unique
  bool ca_bundle = false;             // a clientConfig.caBundle is among the fields
  // The message names all fields. A long one may have been cut: then nobody knows whether the caBundle is one of them.
  bool complete = true;
};

// Reads what the API server says with a 409 to an apply: "Apply failed with 1 conflict: conflict with "kubectl" using
// v1: .spec.x", or "... 2 conflicts: conflicts with "a":\n- .x\n- .y". nullopt for any other error.
std::optional<ApplyConflict> parse_apply_conflict(const Error& error);

}  // namespace sharder::controllerring
