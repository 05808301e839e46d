#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

#include "tests/apiserver/request.h"
#include "tests/apiserver/resource.h"
#include "tests/apiserver/status.h"

// From bytes to objects. Pure functions.
namespace sharder::apiserver {

// YAML (one document) as JSON; numbers, booleans and null as YAML 1.1 reads them without quotes. 400 when it is none.
Outcome<nlohmann::json> parse_yaml(std::string_view text);

// The JSON, YAML or protobuf body of a request, by its Content-Type. 400 when it cannot be read, 415 for another type.
Outcome<nlohmann::json> parse_body(const Request& request);

// Refuses (400) what is no object of this resource: another apiVersion or kind, metadata of a wrong shape. Members of
// metadata that are null are dropped.
Outcome<nlohmann::json> checked_object(nlohmann::json object, const Resource& resource);

}  // namespace sharder::apiserver
