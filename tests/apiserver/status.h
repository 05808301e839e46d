#pragma once

#include <expected>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/apiserver/resource.h"

namespace sharder::apiserver {

// An answer that is a failure: metav1.Status. A plain value; the functions below make those that clients know.
struct Status {
  int code = 500;
  std::string reason = "InternalError";
  std::string message = {};
  nlohmann::json details = {};                  // null: none
  std::string continue_token = {};              // of an expired list: goes on without consistency
  std::optional<int> retry_after_seconds = {};  // Retry-After header and details

  nlohmann::json to_json() const;
};

template <class T>
using Outcome = std::expected<T, Status>;

struct Cause {
  std::string reason;
  std::string message;
  std::string field;
};

// A failure without details, with the reason that belongs to the code.
Status failure(int code, std::string message);
std::string reason_of(int code);

Status not_found(const Resource& resource, std::string_view name);
Status path_not_found();
Status already_exists(const Resource& resource, std::string_view name);
// 409: "Operation cannot be fulfilled on secrets "a": <why>".
Status conflict(const Resource& resource, std::string_view name, std::string_view why);
// 409: the object has another resourceVersion than the request expects.
Status modified(const Resource& resource, std::string_view name);
// 422: one cause or more, each "field: message".
Status invalid(const Resource& resource, std::string_view name, std::vector<Cause> causes);
// 410.
Status expired(std::string message);

inline std::unexpected<Status> refuse(Status status) {
  return std::unexpected(std::move(status));
}

}  // namespace sharder::apiserver
