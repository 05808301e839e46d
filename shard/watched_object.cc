#include "shard/watched_object.h"

#include <utility>

#include "kube/codec/json.h"
#include "ring/object_key.h"

namespace sharder::shard {

Result<nlohmann::json> read_object(std::string_view text, const kube::Resource& resource) {
  auto object = kube::parse_json(text);
  if (!object) {
    return object;
  }
  const auto metadata = object->is_object() ? object->find("metadata") : object->end();
  if (!object->is_object() || metadata == object->end() || !metadata->is_object() ||
      kube::string_of(kube::field_of(*metadata, "name")).empty()) {
    return fail(ErrorCode::kInvalid, "not an object with a name");
  }
  metadata->erase("managedFields");
  (*object)["apiVersion"] = resource.group.empty() ? resource.version : resource.group + "/" + resource.version;
  (*object)["kind"] = resource.kind;
  return object;
}

std::shared_ptr<const std::string> text_of(const nlohmann::json& object) {
  std::string text = object.dump();
  text.shrink_to_fit();  // it has grown by doubling
  return std::make_shared<const std::string>(std::move(text));
}

ObjectName name_of(const nlohmann::json& object) {
  return {.object_namespace = kube::string_at(object, "/metadata/namespace"),
          .name = kube::string_at(object, "/metadata/name")};
}

std::string resource_version_of(const nlohmann::json& object) {
  return kube::string_at(object, "/metadata/resourceVersion");
}

std::optional<std::string> label_of(const nlohmann::json& object, const std::string& key) {
  const nlohmann::json& value = kube::field_of(kube::value_at(object, "/metadata/labels"), key);
  return value.is_string() ? std::optional(value.get<std::string>()) : std::nullopt;
}

std::optional<ObjectName> controller_of(const nlohmann::json& object, const kube::Resource& main) {
  for (const nlohmann::json& reference : kube::elements_of(kube::value_at(object, "/metadata/ownerReferences"))) {
    if (!kube::bool_at(reference, "/controller")) {
      continue;
    }
    if (kube::string_at(reference, "/kind") != main.kind ||
        ring::group_of(kube::string_at(reference, "/apiVersion")) != main.group) {
      return std::nullopt;  // an object has one controller
    }
    return ObjectName{.object_namespace = main.namespaced ? kube::string_at(object, "/metadata/namespace") : "",
                      .name = kube::string_at(reference, "/name")};
  }
  return std::nullopt;
}

}  // namespace sharder::shard
