#include "shard/watched_object.h"

#include <utility>

#include "kube/codec/json.h"
#include "ring/object_key.h"

namespace sharder::shard {

Result<WatchedObject> WatchedObjectReader::read(std::string_view text) {
  auto meta = read_meta(text);
  if (!meta) {
    return std::unexpected(std::move(meta).error());
  }
  auto stripped = stripper_.strip(text);
  if (!stripped) {
    return std::unexpected(std::move(stripped).error());
  }
  return WatchedObject{.meta = *std::move(meta), .text = *std::move(stripped)};
}

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

ObjectName name_of(const nlohmann::json& object) {
  return {.object_namespace = kube::string_at(object, "/metadata/namespace"),
          .name = kube::string_at(object, "/metadata/name")};
}

ObjectName name_of(const kube::ObjectMeta& object) {
  return {.object_namespace = object.object_namespace, .name = object.name};
}

std::string resource_version_of(const nlohmann::json& object) {
  return kube::string_at(object, "/metadata/resourceVersion");
}

std::optional<ObjectName> controller_of(const kube::ObjectMeta& object, const kube::Resource& main) {
  const auto& owner = object.controller;
  if (!owner || owner->kind != main.kind || ring::group_of(owner->api_version) != main.group) {
    return std::nullopt;
  }
  return ObjectName{.object_namespace = main.namespaced ? object.object_namespace : "", .name = owner->name};
}

}  // namespace sharder::shard
