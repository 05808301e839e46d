#pragma once

#include <optional>
#include <vector>

#include "controllerring/assignment.h"
#include "rebalancer/report.h"

namespace sharder::app {

// What rebalancer/ has counted of one ring, for the condition that controllerring/ reports. Pure.
std::optional<std::vector<controllerring::Unassigned>> unassigned(
    const std::optional<std::vector<rebalancer::ResourceReport>>& resources);

}  // namespace sharder::app
