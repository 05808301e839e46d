#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"

// The resourceVersions that writes must carry (design, invariant 5). To the API server an empty one means none: such a
// write would overwrite a state that nobody has read. So neither of these can be empty.
namespace sharder::kube {

// The resourceVersion that a patch or a delete was decided on.
class Precondition {
 public:
  // nullopt: it is empty, as foreign servers leave it in lists. Then read the object first.
  static std::optional<Precondition> of(std::string_view resource_version);

  const std::string& resource_version() const { return resource_version_; }
  bool operator==(const Precondition&) const = default;

 private:
  explicit Precondition(std::string_view resource_version) : resource_version_(resource_version) {}

  std::string resource_version_;
};

// A whole object as a PUT sends it, with the resourceVersion that it was read with.
class VersionedObject {
 public:
  // kInvalid: the object has no resourceVersion.
  static Result<VersionedObject> of(const nlohmann::json& object);

  const std::string& text() const { return text_; }

 private:
  explicit VersionedObject(std::string text) : text_(std::move(text)) {}

  std::string text_;
};

}  // namespace sharder::kube
