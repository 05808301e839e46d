#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

#include "tests/apiserver/status.h"

namespace sharder::apiserver {

inline constexpr std::string_view kProtobuf = "application/vnd.kubernetes.protobuf";

// An object that was sent as application/vnd.kubernetes.protobuf, as Go's clients do. Knows the kinds that shards and
// small controllers write: Lease, ConfigMap, Secret, Event, DeleteOptions. 415 for another kind, 400 for a field that
// is not known or cannot be read.
Outcome<nlohmann::json> parse_protobuf(std::string_view body);

}  // namespace sharder::apiserver
