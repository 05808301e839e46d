#include "controllerring/status.h"

#include <nlohmann/json.hpp>

#include "base/ascii.h"
#include "base/rfc3339.h"
#include "kube/codec/json.h"

namespace sharder::controllerring {

namespace {

using nlohmann::json;

constexpr std::size_t kMaxMessage = 32768;  // of a metav1.Condition

// As for every metav1.Condition: other conditions, and fields that do not change, stay; a new condition comes last.
void set_ready(json& conditions, const Outcome& outcome, WallTime now) {
  if (!conditions.is_array()) {
    conditions = json::array();
  }
  json* ready = nullptr;
  for (json& condition : conditions) {
    if (condition.is_object() && condition.value("type", json()) == "Ready") {
      ready = &condition;
      break;
    }
  }
  if (ready == nullptr) {
    ready = &conditions.emplace_back(json{{"type", "Ready"}});
  }
  const std::string_view status = outcome.error ? "False" : "True";
  if (ready->value("status", json()) != status || !ready->contains("lastTransitionTime")) {
    (*ready)["lastTransitionTime"] = format_time(now);
  }
  (*ready)["status"] = status;
  (*ready)["reason"] = outcome.error ? "ReconciliationFailed" : "ReconciliationSucceeded";
  (*ready)["message"] =
      outcome.error ? capitalised(*outcome.error).substr(0, kMaxMessage) : "ControllerRing was successfully reconciled";
  (*ready)["observedGeneration"] = outcome.generation;
}

}  // namespace

std::string capitalised(std::string_view error) {
  std::string text(error);
  if (!text.empty()) {
    text.front() = to_upper(text.front());
  }
  return text;
}

Result<std::optional<kube::VersionedObject>> status_body(std::string_view document, const Outcome& outcome,
                                                         WallTime now) {
  auto object = kube::parse_json(document);
  if (!object || !object->is_object()) {
    return fail(ErrorCode::kInvalid, "ControllerRing: " + (object ? "not an object" : object.error().message));
  }
  const json before = object->contains("status") ? object->at("status") : json();
  json& status = (*object)["status"];
  if (!status.is_object()) {
    status = json::object();
  }
  status["observedGeneration"] = outcome.generation;
  for (const auto& [key, counted] :
       {std::pair("shards", outcome.shards), {"availableShards", outcome.available_shards}}) {
    if (!outcome.error) {
      status[key] = counted;
    } else if (!status.contains(key)) {
      status[key] = 0;  // required
    }
  }
  set_ready(status["conditions"], outcome, now);
  if (status == before) {
    return std::nullopt;
  }
  auto body = kube::VersionedObject::of(*object);
  if (!body) {
    return fail("ControllerRing", std::move(body.error()));
  }
  return *std::move(body);
}

}  // namespace sharder::controllerring
