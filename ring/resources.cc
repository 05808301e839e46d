#include "ring/resources.h"

#include <algorithm>
#include <vector>

namespace sharder::ring {

std::vector<GroupResource> resources_of(const ControllerRing& spec) {
  std::vector<GroupResource> names;
  const auto add = [&names](const GroupResource& name) {
    if (std::ranges::find(names, name) == names.end()) {
      names.push_back(name);
    }
  };
  for (const RingResource& resource : spec.resources) {
    add(resource.main);
  }
  for (const RingResource& resource : spec.resources) {
    std::ranges::for_each(resource.controlled, add);
  }
  return names;
}

}  // namespace sharder::ring
