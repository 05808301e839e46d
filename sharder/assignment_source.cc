#include "sharder/assignment_source.h"

namespace sharder::app {

std::optional<std::vector<controllerring::Unassigned>> unassigned(
    const std::optional<std::vector<rebalancer::ResourceReport>>& resources) {
  if (!resources) {
    return std::nullopt;
  }
  std::vector<controllerring::Unassigned> all;
  for (const rebalancer::ResourceReport& resource : *resources) {
    controllerring::Unassigned& one =
        all.emplace_back(controllerring::Unassigned{.resource = to_string(resource.name)});
    if (resource.unassigned) {
      one.objects = resource.unassigned->objects;
      one.oldest = resource.unassigned->oldest;
      one.example = resource.unassigned->example;
    }
  }
  return all;
}

}  // namespace sharder::app
