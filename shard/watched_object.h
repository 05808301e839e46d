#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "kube/client/resource.h"
#include "kube/codec/object_meta.h"
#include "kube/codec/object_stripper.h"
#include "shard/object.h"

// Objects as watches show them, as the caches keep them, and as reconcile functions see them.
namespace sharder::shard {

// What a cache gets of an object.
struct WatchedObject {
  kube::ObjectMeta meta;
  std::string text;  // as kube::ObjectStripper leaves it
};

// Reads what watches show. Owned by one thread.
class WatchedObjectReader {
 public:
  // kInvalid: it is not an object with a name.
  Result<WatchedObject> read(std::string_view text);
  // Of an object that is not kept: its last state, when it is gone.
  Result<kube::ObjectMeta> read_meta(std::string_view text) { return decoder_.decode(text); }

 private:
  kube::ObjectMetaDecoder decoder_;
  kube::ObjectStripper stripper_;
};

// The object in `text`, which is from a cache, a list or a watch: without managedFields, and with the resource's
// apiVersion and kind. kInvalid: it is not an object with a name.
Result<nlohmann::json> read_object(std::string_view text, const kube::Resource& resource);

ObjectName name_of(const nlohmann::json& object);
ObjectName name_of(const kube::ObjectMeta& object);
std::string resource_version_of(const nlohmann::json& object);
// The object of `main` that controls this one by an ownerReference with controller=true; nullopt: none does.
std::optional<ObjectName> controller_of(const kube::ObjectMeta& object, const kube::Resource& main);

}  // namespace sharder::shard
