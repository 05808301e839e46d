#pragma once

#include <string>
#include <string_view>

namespace sharder::ring {

// Replaces what `key` held with "<group>/<kind>/<namespace>/<name>", empty parts kept (protocol, 4):
// "/Secret/default/foo". A main object gives all four parts itself. For a controlled object, group, kind and name are
// those of its controller ownerReference, and the namespace is the object's. Reuse `key` to save the allocation.
void object_key(std::string& key, std::string_view group, std::string_view kind, std::string_view object_namespace,
                std::string_view name);

// "apps" of "apps/v1", "" of "v1"; also "" for a text that is no apiVersion ("a/b/c").
std::string_view group_of(std::string_view api_version);

// Whether an object can be sharded by this controller ownerReference: it has an apiVersion of one or two parts, a kind
// and a name. Other references are malformed, and no key is made up for them (protocol, 9).
bool is_complete_reference(std::string_view api_version, std::string_view kind, std::string_view name);

}  // namespace sharder::ring
