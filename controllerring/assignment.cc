#include "controllerring/assignment.h"

#include <algorithm>

namespace sharder::controllerring {

namespace {

bool is_overdue(const Unassigned& resource) {
  return resource.objects.value_or(0) > 0 && resource.oldest >= kAssignmentPatience;
}

// "3 secrets, 1 configmaps; for example secrets default/a"
std::string describe(const std::vector<Unassigned>& resources) {
  std::string numbers;
  std::string example;
  for (const Unassigned& resource : resources) {
    if (!is_overdue(resource)) {
      continue;
    }
    numbers += (numbers.empty() ? "" : ", ") + std::to_string(*resource.objects) + " " + resource.resource;
    if (example.empty() && !resource.example.empty()) {
      example = "; for example " + resource.resource + " " + resource.example;
    }
  }
  return numbers + example;
}

}  // namespace

std::optional<Condition> all_assigned(const std::optional<std::vector<Unassigned>>& resources) {
  if (!resources) {
    return std::nullopt;
  }
  if (std::ranges::any_of(*resources, is_overdue)) {
    return Condition{.status = "False",
                     .reason = "ObjectsUnassigned",
                     .message = "Objects have no shard of this ring: " + describe(*resources)};
  }
  if (std::ranges::any_of(*resources, [](const Unassigned& resource) { return !resource.objects; })) {
    return std::nullopt;
  }
  return Condition{.status = "True",
                   .reason = "ObjectsAssigned",
                   .message = "No object has been without a shard of this ring for " +
                              std::to_string(kAssignmentPatience.count()) + " s"};
}

}  // namespace sharder::controllerring
