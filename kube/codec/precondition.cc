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
  // A byte that is not UTF-8, whoever brought it, ends no process.
  return VersionedObject(object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

}  // namespace sharder::kube
