#pragma once

#include <string>

#include "kube/client/resource.h"

namespace sharder::kube {

// The object that an Event is about.
struct ObjectReference {
  std::string api_version;
  std::string kind;
  std::string object_namespace;  // "" for cluster-scoped: the Event stands in "default"
  std::string name;
  std::string uid;
  std::string resource_version = {};
};

// A cluster-scoped object of the resource, by name and uid.
ObjectReference reference_to(const Resource& resource, std::string name, std::string uid);

}  // namespace sharder::kube
