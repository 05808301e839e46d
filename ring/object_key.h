#pragma once

#include <string>
#include <string_view>

namespace sharder::ring {

// Replaces what `key` held with "<group>/<kind>/<namespace>/<name>", empty parts kept (protocol, 4):
// "/Secret/default/foo". For a main resource the object's own; for a controlled one group, kind and name of its
// controller ownerReference with the object's namespace. Reuse `key` to save the allocation.
void object_key(std::string& key, std::string_view group, std::string_view kind, std::string_view object_namespace,
                std::string_view name);

// "apps" of "apps/v1", "" of "v1"; "" too for what is no apiVersion ("a/b/c").
std::string_view group_of(std::string_view api_version);

// Whether an object can be sharded by this controller ownerReference: an apiVersion of one or two parts, a kind and a
// name. The others are malformed: nobody may make up a key for them (protocol, 9).
bool is_complete_reference(std::string_view api_version, std::string_view kind, std::string_view name);

}  // namespace sharder::ring
