#include "shard/object.h"

namespace sharder::shard {

std::string to_string(const ResourceName& resource) {
  return resource.group.empty() ? resource.plural : resource.plural + "." + resource.group;
}

std::string to_string(const ObjectName& object) {
  return object.object_namespace.empty() ? object.name : object.object_namespace + "/" + object.name;
}

}  // namespace sharder::shard
