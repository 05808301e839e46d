#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "controllerring/status.h"

// What the condition AllAssigned of a ring says (docs/decisions/0010-audit.md).
namespace sharder::controllerring {

// The objects of one resource of a ring that have no shard of the ring.
struct Unassigned {
  std::string resource;                     // "deployments.apps"
  std::optional<std::size_t> objects = {};  // nullopt: not counted yet
  std::chrono::nanoseconds oldest = {};
  std::string example = {};  // "namespace/name" of one, where it is known
};

// Of each resource of a ring; nullopt: this replica does not count them. On the control loop.
using AssignmentCheck = std::function<std::optional<std::vector<Unassigned>>(const std::string& ring)>;

// An object that waits for its shard for less is no trouble: joins and failovers take so long.
inline constexpr std::chrono::seconds kAssignmentPatience{30};

// False when objects have had no shard for kAssignmentPatience, True when none has; nullopt: not all is counted. Pure.
std::optional<Condition> all_assigned(const std::optional<std::vector<Unassigned>>& resources);

}  // namespace sharder::controllerring
