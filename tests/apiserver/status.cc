#include "tests/apiserver/status.h"

#include <array>

namespace sharder::apiserver {

using nlohmann::json;

namespace {

std::string qualified(const Resource& resource) {
  return resource.group.empty() ? resource.plural : resource.plural + "." + resource.group;
}

json details_of(const Resource& resource, std::string_view name, const std::string& kind) {
  json details = {{"kind", kind}};
  if (!name.empty()) {
    details["name"] = name;
  }
  if (!resource.group.empty()) {
    details["group"] = resource.group;
  }
  return details;
}

std::string quoted(std::string_view text) {
  return '"' + std::string(text) + '"';
}

}  // namespace

json Status::to_json() const {
  json result = {{"apiVersion", "v1"},  {"kind", "Status"},   {"metadata", json::object()},
                 {"status", "Failure"}, {"message", message}, {"reason", reason},
                 {"code", code}};
  if (!continue_token.empty()) {
    result["metadata"]["continue"] = continue_token;
  }
  if (!details.is_null()) {
    result["details"] = details;
  }
  if (retry_after_seconds) {
    result["details"]["retryAfterSeconds"] = *retry_after_seconds;
  }
  return result;
}

std::string reason_of(int code) {
  static constexpr std::array<std::pair<int, const char*>, 15> kReasons{{{400, "BadRequest"},
                                                                         {401, "Unauthorized"},
                                                                         {403, "Forbidden"},
                                                                         {404, "NotFound"},
                                                                         {405, "MethodNotAllowed"},
                                                                         {406, "NotAcceptable"},
                                                                         {409, "Conflict"},
                                                                         {410, "Expired"},
                                                                         {413, "RequestEntityTooLarge"},
                                                                         {415, "UnsupportedMediaType"},
                                                                         {422, "Invalid"},
                                                                         {429, "TooManyRequests"},
                                                                         {500, "InternalError"},
                                                                         {503, "ServiceUnavailable"},
                                                                         {504, "Timeout"}}};
  for (const auto& [known, reason] : kReasons) {
    if (known == code) {
      return reason;
    }
  }
  return code >= 500 ? "InternalError" : "Unknown";
}

Status failure(int code, std::string message) {
  return {.code = code, .reason = reason_of(code), .message = std::move(message)};
}

Status not_found(const Resource& resource, std::string_view name) {
  Status status = failure(404, qualified(resource) + " " + quoted(name) + " not found");
  status.details = details_of(resource, name, resource.plural);
  return status;
}

Status path_not_found() {
  Status status = failure(404, "the server could not find the requested resource");
  status.details = json::object();
  return status;
}

Status already_exists(const Resource& resource, std::string_view name) {
  Status status = failure(409, qualified(resource) + " " + quoted(name) + " already exists");
  status.reason = "AlreadyExists";
  status.details = details_of(resource, name, resource.plural);
  return status;
}

Status conflict(const Resource& resource, std::string_view name, std::string_view why) {
  Status status = failure(
      409, "Operation cannot be fulfilled on " + qualified(resource) + " " + quoted(name) + ": " + std::string(why));
  status.details = details_of(resource, name, resource.plural);
  return status;
}

Status modified(const Resource& resource, std::string_view name) {
  return conflict(resource, name,
                  "the object has been modified; please apply your changes to the latest version and try again");
}

Status invalid(const Resource& resource, std::string_view name, std::vector<Cause> causes) {
  const std::string kind = resource.group.empty() ? resource.kind : resource.kind + "." + resource.group;
  std::string text;
  json list = json::array();
  for (const Cause& cause : causes) {
    text += (text.empty() ? "" : ", ") + cause.field + ": " + cause.message;
    list.push_back({{"reason", cause.reason}, {"message", cause.message}, {"field", cause.field}});
  }
  if (causes.size() > 1) {
    text.insert(0, "[").append("]");
  }
  Status status = failure(422, kind + " " + quoted(name) + " is invalid: " + text);
  status.details = details_of(resource, name, resource.kind);
  status.details["causes"] = std::move(list);
  return status;
}

Status expired(std::string message) {
  return failure(410, std::move(message));
}

}  // namespace sharder::apiserver
