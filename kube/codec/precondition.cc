#include "kube/codec/precondition.h"

#include "kube/codec/json.h"

namespace sharder::kube {

std::optional<Precondition> Precondition::of(std::string_view resource_version) {
  return resource_version.empty() ? std::nullopt : std::optional(Precondition(resource_version));
}

Result<VersionedObject> VersionedObject::of(const nlohmann::json& object) {
  if (string_at(object, "/metadata/resourceVersion").empty()) {
    return fail(ErrorCode::kInvalid, "the object has no resourceVersion");
  }
  return VersionedObject(object.dump());
}

}  // namespace sharder::kube
