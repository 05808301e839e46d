#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/error.h"
#include "kube/codec/precondition.h"

namespace sharder::controllerring {

// How the reconciliation of a ring ended: a plain value.
struct Outcome {
  std::int64_t generation = 0;            // of the spec that was reconciled
  std::optional<std::string> error = {};  // what went wrong, as a sentence; nullopt: nothing
  std::int64_t shards = 0;                // of a success: all shard Leases of the ring
  std::int64_t available_shards = 0;
};

// Body of the PUT on /status that reports the outcome, or nullopt when the status has it already (protocol, 2).
// `document`: the ControllerRing as it stands in the cluster, JSON; everything in it but our part of the status stays,
// the resourceVersion included. lastTransitionTime moves only with the condition's status. After a failure the old
// counts stay. kInvalid when the document is no object, or has no resourceVersion.
Result<std::optional<kube::VersionedObject>> status_body(std::string_view document, const Outcome& outcome,
                                                         WallTime now);

// The error with a capital letter at its beginning.
std::string capitalised(std::string_view error);

}  // namespace sharder::controllerring
