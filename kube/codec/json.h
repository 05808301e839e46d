#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

#include "base/error.h"

namespace sharder::kube {

// The one place where nlohmann's exceptions become a Result. kInvalid: "not valid JSON: line 3, column 14". The
// parser's own text would quote what it read, which may be a token or a Secret.
Result<nlohmann::json> parse_json(std::string_view text);

// What stands at `pointer` ("/metadata/name"), or null when nothing does. Never throws, whatever the object is.
const nlohmann::json& value_at(const nlohmann::json& object, const char* pointer);

// The string at `pointer`, or "" when it is absent or no string.
std::string string_at(const nlohmann::json& object, const char* pointer);

}  // namespace sharder::kube
