#include "tests/apiserver/patch.h"

#include <algorithm>
#include <utility>

namespace sharder::apiserver {

using nlohmann::json;

namespace {

bool same_item(const json& a, const json& b, const std::vector<std::string>& keys) {
  return a.is_object() && b.is_object() && std::ranges::all_of(keys, [&](const std::string& key) {
           return a.contains(key) && b.contains(key) && a[key] == b[key];
         });
}

json merged(json object, const json& patch, const Schema& schema);

json merged_map(json list, const json& patch, const Schema& schema) {
  if (!list.is_array()) {
    list = json::array();
  }
  for (const json& item : patch) {
    const auto known = std::ranges::find_if(list, [&](const json& old) { return same_item(old, item, schema.keys()); });
    const std::string directive = item.is_object() ? item.value("$patch", "") : "";
    if (directive == "delete") {
      if (known != list.end()) {
        list.erase(known);
      }
    } else if (directive == "replace") {
      return merged(json::array(), patch, schema);
    } else if (known != list.end()) {
      *known = merged(*known, item, schema.items());
    } else {
      list.push_back(merged(json::object(), item, schema.items()));
    }
  }
  return list;
}

json merged(json object, const json& patch, const Schema& schema) {
  if (patch.is_array()) {
    if (schema.kind() == Schema::Kind::kMap) {
      return merged_map(std::move(object), patch, schema);
    }
    if (schema.kind() == Schema::Kind::kSet && object.is_array()) {
      for (const json& item : patch) {
        if (std::ranges::find(object, item) == object.end()) {
          object.push_back(item);
        }
      }
      return object;
    }
    return patch;
  }
  if (!patch.is_object()) {
    return patch;
  }
  const std::string directive = patch.value("$patch", "");
  if (!object.is_object() || directive == "replace") {
    object = json::object();
  }
  for (const auto& [name, value] : patch.items()) {
    if (name.starts_with("$deleteFromPrimitiveList/")) {
      json& list = object[name.substr(name.find('/') + 1)];
      if (list.is_array()) {
        std::erase_if(list.get_ref<json::array_t&>(),
                      [&](const json& item) { return std::ranges::find(value, item) != value.end(); });
      }
    } else if (name.starts_with('$')) {
      continue;
    } else if (value.is_null() || (value.is_object() && value.value("$patch", "") == "delete")) {
      object.erase(name);
    } else {
      json old = object.contains(name) ? std::move(object[name]) : json();
      object[name] = merged(std::move(old), value, schema.field(name));
    }
  }
  return object;
}

}  // namespace

json merge_patch(json object, const json& patch) {
  object.merge_patch(patch);
  return object;
}

Outcome<json> json_patch(const json& object, const json& patch) {
  if (!patch.is_array()) {
    return refuse(failure(400, "error decoding patch: a list of operations is expected"));
  }
  try {
    return object.patch(patch);
  } catch (const json::parse_error& error) {
    return refuse(failure(400, std::string("error decoding patch: ") + error.what()));
  } catch (const json::exception& error) {
    return refuse(
        failure(422, std::string("the server rejected our request due to an error in our request: ") + error.what()));
  }
}

Outcome<json> strategic_patch(json object, const json& patch, const Schema& schema) {
  if (!patch.is_object()) {
    return refuse(failure(400, "error decoding patch: an object is expected"));
  }
  try {
    return merged(std::move(object), patch, schema);
  } catch (const json::exception& error) {
    return refuse(failure(400, std::string("error decoding patch: ") + error.what()));
  }
}

}  // namespace sharder::apiserver
