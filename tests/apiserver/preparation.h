#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "tests/apiserver/resource.h"
#include "tests/apiserver/status.h"

// What the server does to an object before it is stored. Pure functions but for the random names and uids.
namespace sharder::apiserver {

std::string random_uid();
// The name for a generateName: five characters more, the prefix cut so that 63 are not exceeded.
std::string generated_name(std::string_view prefix);

// Fills in what the API server fills in for the kinds that the sharder meets; no more.
void set_defaults(const Resource& resource, nlohmann::json& object, WallTime now);

// A new object: uid, creationTimestamp, generation; name and namespace must be set. What only the server may set is
// taken out.
void prepare_create(const Resource& resource, nlohmann::json& object, WallTime now);

// The object as it is stored when `after` is written over `before`: system fields are kept, the part of it that this
// subresource may not change is `before`'s, the generation grows with the spec.
// 409 for another uid or resourceVersion, 422 without a resourceVersion where one is needed (`put` only).
Outcome<nlohmann::json> prepare_update(const Resource& resource, const nlohmann::json& before, nlohmann::json after,
                                       std::string_view subresource, bool put);

// Whether nothing changed but when managedFields were touched.
bool same_content(const nlohmann::json& before, const nlohmann::json& after);

}  // namespace sharder::apiserver
