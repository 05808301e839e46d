#include "kube/json.h"

#include <string>

namespace sharder::kube {

Result<nlohmann::json> parse_json(std::string_view text) {
  try {
    return nlohmann::json::parse(text);
  } catch (const nlohmann::json::exception& error) {
    return fail(ErrorCode::kInvalid, std::string("not valid JSON: ") + error.what());
  }
}

std::string string_at(const nlohmann::json& object, const char* pointer) {
  // The pointers are literals of ours. at() and contains() still throw when one leads through an array ("/a/b" in
  // {"a": []}), which is the input's doing.
  try {
    const nlohmann::json::json_pointer path(pointer);
    if (!object.contains(path)) {
      return {};
    }
    const nlohmann::json& value = object.at(path);
    return value.is_string() ? value.get<std::string>() : std::string();
  } catch (const nlohmann::json::exception&) {
    return {};
  }
}

}  // namespace sharder::kube
