#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "tests/apiserver/resource.h"
#include "tests/apiserver/schema.h"
#include "tests/apiserver/status.h"

// Server-side apply and the ownership of fields (metadata.managedFields). Pure functions.
namespace sharder::apiserver {

// Who writes, and how.
struct FieldManager {
  std::string name = {};
  std::string api_version = {};
  std::string subresource = {};
  std::string now = {};  // metav1.Time, for entries that change
};

// `applied` over `live` (an empty object: it is created): its fields are set, fields that the manager applied before
// and nobody else owns are removed, and managedFields say so. Fields that others own with another value are a conflict,
// 409, unless `force` takes them away. Managed entries are those of `live`.
Outcome<nlohmann::json> apply(const Resource& resource, const Schema& schema, const nlohmann::json& live,
                              const nlohmann::json& applied, const FieldManager& manager, bool force);

// After any other write: what changed between the two objects belongs to the manager from now on, in `after`'s
// managedFields. `before` empty: the object is new.
void note_update(const Schema& schema, const nlohmann::json& before, nlohmann::json& after,
                 const FieldManager& manager);

}  // namespace sharder::apiserver
