#include "tests/apiserver/audit_log.h"

#include <nlohmann/json.hpp>
#include <stdexcept>
#include <utility>

#include "base/rfc3339.h"
#include "tests/apiserver/body.h"

namespace sharder::apiserver {

using nlohmann::json;

namespace {

json object_reference(const Route& route) {
  json reference = {{"resource", route.plural}, {"apiVersion", route.version}};
  const auto add = [&](const char* name, const std::string& value) {
    if (!value.empty()) {
      reference[name] = value;
    }
  };
  add("apiGroup", route.group);
  add("namespace", route.object_namespace);
  add("name", route.name);
  add("subresource", route.subresource);
  return reference;
}

void add_bodies(json& line, const Request& request, const std::string& answer) {
  if (auto body = parse_body(request); body && body->is_structured()) {
    line["requestObject"] = *std::move(body);
  }
  if (json body = json::parse(answer, nullptr, false); body.is_structured()) {
    line["responseObject"] = std::move(body);
  }
}

std::string verb_of(const Request& request) {
  if (const auto route = parse_route(request)) {
    return route->verb;
  }
  return request.method == "GET" ? "get" : request.method == "POST" ? "post" : request.method;
}

}  // namespace

AuditLog::AuditLog(const std::filesystem::path& file, AuditLevel level) : level_(level), file_(file, std::ios::app) {
  if (!file_) {
    throw std::runtime_error("cannot write " + file.string());
  }
}

void AuditLog::write(const Request& request, int code, const std::string& answer,
                     std::chrono::system_clock::time_point received) {
  const auto time = [](auto point) { return format_micro_time(std::chrono::floor<std::chrono::microseconds>(point)); };
  json line = {{"kind", "Event"},
               {"apiVersion", "audit.k8s.io/v1"},
               {"level", level_ == AuditLevel::kMetadata ? "Metadata" : "RequestResponse"},
               {"stage", "ResponseComplete"},
               {"requestURI", request.target},
               {"verb", verb_of(request)},
               {"user", {{"username", request.user}}},
               {"userAgent", request.user_agent},
               {"responseStatus", {{"code", code}}},
               {"requestReceivedTimestamp", time(received)},
               {"stageTimestamp", time(std::chrono::system_clock::now())}};
  if (const auto route = parse_route(request)) {
    line["objectRef"] = object_reference(*route);
  }
  if (level_ == AuditLevel::kRequestResponse && request.method != "GET") {
    add_bodies(line, request, answer);
  }
  const std::string text = line.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
  const std::lock_guard lock(mutex_);
  file_ << text << std::flush;
}

}  // namespace sharder::apiserver
