#pragma once

#include <nlohmann/json.hpp>

#include "tests/apiserver/schema.h"
#include "tests/apiserver/status.h"

// Patches: pure functions from the object as it is to the object as it is to be.
namespace sharder::apiserver {

// RFC 7396.
nlohmann::json merge_patch(nlohmann::json object, const nlohmann::json& patch);

// RFC 6902. 400 when it is no JSON patch, 422 when it cannot be carried out: a test fails, a path is not there.
Outcome<nlohmann::json> json_patch(const nlohmann::json& object, const nlohmann::json& patch);

// What kubectl apply sends for built-in kinds: a merge patch in which lists with keys are merged item by item and lists
// that are sets are united. Directives: $patch (delete, replace), $deleteFromPrimitiveList/..., $retainKeys and
// $setElementOrder are understood or left out; 400 when one is malformed.
Outcome<nlohmann::json> strategic_patch(nlohmann::json object, const nlohmann::json& patch, const Schema& schema);

}  // namespace sharder::apiserver
