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

// For JSON of any shape. None of these functions throws. References point into the object, or to a constant.

// The value at `pointer` ("/metadata/name"), or null when there is none.
const nlohmann::json& value_at(const nlohmann::json& object, const char* pointer);
// The value of `key`, which may hold any characters (a label's does); null when there is none.
const nlohmann::json& field_of(const nlohmann::json& object, std::string_view key);
// `value` if it is an array, else an empty array.
const nlohmann::json& elements_of(const nlohmann::json& value);

// The element of an API object's status.conditions that has this type; null when there is none.
const nlohmann::json& condition_of(const nlohmann::json& object, std::string_view type);

// The string in `value`, or "" when it is not a string.
std::string string_of(const nlohmann::json& value);
// The string at `pointer`, or "" when it is absent or not a string.
std::string string_at(const nlohmann::json& object, const char* pointer);
// nullopt when it is absent, not a whole number, or too large for 64 bits.
std::optional<std::int64_t> int_at(const nlohmann::json& object, const char* pointer);
// False when it is absent or not a boolean.
bool bool_at(const nlohmann::json& object, const char* pointer);

}  // namespace sharder::kube
