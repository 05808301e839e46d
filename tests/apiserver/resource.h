#pragma once

#include <string>
#include <vector>

namespace sharder::apiserver {

// One resource in one version, as discovery shows it and the handlers need it. A plain value.
struct Resource {
  std::string group = {};  // "" is core
  std::string version = {};
  std::string plural = {};
  std::string kind = {};
  bool namespaced = true;
  std::vector<std::string> short_names = {};
  std::string singular = {};             // "": the kind in lower case
  std::string list_kind = {};            // "": the kind with List
  bool has_generation = false;           // metadata.generation counts changes outside metadata and status
  bool status_subresource = false;       // status changes only through /status
  bool custom = false;                   // of a CustomResourceDefinition
  bool virtual_only = false;             // create answers, nothing is kept: reviews
  bool unconditional_update = true;      // PUT without resourceVersion is allowed
  bool create_on_update = false;         // PUT makes what is not there
  bool dns_label_name = false;           // names without dots (namespaces, services)
  bool free_name = false;                // names are path segments only (roles and bindings)
  bool tracks_fields = false;            // managedFields from the first write on, not only from the first apply
  std::vector<std::string> served = {};  // of a custom resource: all versions, `version` is the stored one

  std::string api_version() const { return group.empty() ? version : group + "/" + version; }
  std::string list_kind_name() const { return list_kind.empty() ? kind + "List" : list_kind; }
  // Names the objects in the store, whatever the version.
  std::string bucket() const { return group + "/" + plural; }
};

}  // namespace sharder::apiserver
