#include "ring/controller_ring.h"

#include <string>

namespace sharder::ring {

std::string to_string(const GroupResource& resource) {
  return resource.group.empty() ? resource.resource : resource.resource + "." + resource.group;
}

}  // namespace sharder::ring
