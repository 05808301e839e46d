#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "kube/client/resource.h"
#include "shard/object.h"

// What a watch shows, as this library keeps it. Pure functions.
namespace sharder::shard {

// The object in `text`: without managedFields, and with the resource's apiVersion and kind, which items of lists and
// metadata-only objects do not have. kInvalid: it is not an object with a name.
Result<nlohmann::json> read_object(std::string_view text, const kube::Resource& resource);

// Compact JSON, as caches hold it: in no more memory than it needs.
std::shared_ptr<const std::string> text_of(const nlohmann::json& object);

ObjectName name_of(const nlohmann::json& object);
std::string resource_version_of(const nlohmann::json& object);
// nullopt: it has no such label.
std::optional<std::string> label_of(const nlohmann::json& object, const std::string& key);
// The object of `main` that controls this one by an ownerReference with controller=true; nullopt: none does.
std::optional<ObjectName> controller_of(const nlohmann::json& object, const kube::Resource& main);

}  // namespace sharder::shard
