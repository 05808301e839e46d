#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace sharder::kube {

// The one place where nlohmann's exceptions become a Result. kInvalid: "not valid JSON: line 3, column 14". The
// parser's own text would quote what it read, which may be a token or a Secret.
Result<nlohmann::json> parse_json(std::string_view text);

// What objects hold, whatever they are: none of these throws. References are into the object, or to a constant.

// What stands at `pointer` ("/metadata/name"), or null when nothing does.
const nlohmann::json& value_at(const nlohmann::json& object, const char* pointer);
// What stands under a key with any characters, a label's perhaps; null when nothing does.
const nlohmann::json& field_of(const nlohmann::json& object, std::string_view key);
// The elements of an array; of anything else an empty one.
const nlohmann::json& elements_of(const nlohmann::json& value);

// The string that a value is, or "" when it is none.
std::string string_of(const nlohmann::json& value);
// The string at `pointer`, or "" when it is absent or no string.
std::string string_at(const nlohmann::json& object, const char* pointer);
// nullopt when it is absent, no whole number, or one that 64 bits cannot hold.
std::optional<std::int64_t> int_at(const nlohmann::json& object, const char* pointer);
// False when it is absent or no truth value.
bool bool_at(const nlohmann::json& object, const char* pointer);

}  // namespace sharder::kube
