#include "kube/client/object_reference.h"

#include <utility>

namespace sharder::kube {

ObjectReference reference_to(const Resource& resource, std::string name, std::string uid) {
  return {.api_version = resource.group.empty() ? resource.version : resource.group + "/" + resource.version,
          .kind = resource.kind,
          .object_namespace = "",
          .name = std::move(name),
          .uid = std::move(uid)};
}

}  // namespace sharder::kube
