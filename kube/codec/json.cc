#include "kube/codec/json.h"

#include <algorithm>
#include <limits>

namespace sharder::kube {

namespace {

const nlohmann::json kNothing;
const nlohmann::json kNoElements = nlohmann::json::array();

// "line 3, column 14": the place of the byte at which a parser stopped. All are counted from 1.
std::string position(std::string_view text, std::size_t byte) {
  const std::string_view before = text.substr(0, std::min(std::max<std::size_t>(byte, 1) - 1, text.size()));
  const auto line = std::ranges::count(before, '\n') + 1;
  const std::size_t column = before.size() - (before.rfind('\n') + 1) + 1;  // npos + 1 is 0
  return "line " + std::to_string(line) + ", column " + std::to_string(column);
}

}  // namespace

Result<nlohmann::json> parse_json(std::string_view text) {
  try {
    return nlohmann::json::parse(text);
  } catch (const nlohmann::json::parse_error& error) {
    return fail(ErrorCode::kInvalid, "not valid JSON: " + position(text, error.byte));
  } catch (const nlohmann::json::exception&) {
    return fail(ErrorCode::kInvalid, "not valid JSON: a number too large");
  }
}

const nlohmann::json& value_at(const nlohmann::json& object, const char* pointer) {
  // Our pointers are valid literals. at() and contains() still throw when the input has an array on the way ("/a/b" in
  // {"a": []}).
  try {
    const nlohmann::json::json_pointer path(pointer);
    return object.contains(path) ? object.at(path) : kNothing;
  } catch (const nlohmann::json::exception&) {
    return kNothing;
  }
}

const nlohmann::json& field_of(const nlohmann::json& object, std::string_view key) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  return found == object.end() ? kNothing : *found;
}

const nlohmann::json& elements_of(const nlohmann::json& value) {
  return value.is_array() ? value : kNoElements;
}

const nlohmann::json& condition_of(const nlohmann::json& object, std::string_view type) {
  const nlohmann::json& conditions = elements_of(value_at(object, "/status/conditions"));
  const auto found =
      std::ranges::find_if(conditions, [type](const nlohmann::json& one) { return string_at(one, "/type") == type; });
  return found == conditions.end() ? kNothing : *found;
}

std::string string_of(const nlohmann::json& value) {
  return value.is_string() ? value.get<std::string>() : std::string();
}

std::string string_at(const nlohmann::json& object, const char* pointer) {
  return string_of(value_at(object, pointer));
}

std::optional<std::int64_t> int_at(const nlohmann::json& object, const char* pointer) {
  const nlohmann::json& value = value_at(object, pointer);
  const bool too_large =
      value.is_number_unsigned() && value.get<std::uint64_t>() > std::numeric_limits<std::int64_t>::max();
  return value.is_number_integer() && !too_large ? std::optional(value.get<std::int64_t>()) : std::nullopt;
}

bool bool_at(const nlohmann::json& object, const char* pointer) {
  const nlohmann::json& value = value_at(object, pointer);
  return value.is_boolean() && value.get<bool>();
}

}  // namespace sharder::kube
