#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"

// What writes must carry (design, invariant 5). The API server takes an empty resourceVersion for none, so what was
// decided on a version that nobody knows would overwrite what nobody has looked at: neither of these can be empty.
namespace sharder::kube {

// The resourceVersion that a patch or a delete was decided on.
class Precondition {
 public:
  // nullopt: it is empty, as foreign servers leave it in lists. Read the object first.
  static std::optional<Precondition> of(std::string_view resource_version);

  const std::string& resource_version() const { return resource_version_; }
  bool operator==(const Precondition&) const = default;

 private:
  explicit Precondition(std::string_view resource_version) : resource_version_(resource_version) {}

  std::string resource_version_;
};

// A whole object as a PUT sends it, with the resourceVersion that it was read with.
class GuardedObject {
 public:
  // kInvalid: it has none.
  static Result<GuardedObject> of(const nlohmann::json& object);

  const std::string& text() const { return text_; }

 private:
  explicit GuardedObject(std::string text) : text_(std::move(text)) {}

  std::string text_;
};

}  // namespace sharder::kube
