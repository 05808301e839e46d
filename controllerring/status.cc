#include "controllerring/status.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "base/ascii.h"
#include "base/rfc3339.h"
#include "base/utf8.h"
#include "kube/codec/json.h"

namespace sharder::controllerring {

namespace {

using nlohmann::json;

constexpr std::size_t kMaxMessage = 32768;  // of a metav1.Condition

std::string stored_message(const Condition& condition) {
  return std::string(cut_utf8(condition.message, kMaxMessage));
}

json* find_condition(json& conditions, std::string_view type) {
  for (json& condition : conditions) {
    if (condition.is_object() && condition.value("type", json()) == type) {
      return &condition;
    }
  }
  return nullptr;
}

// As for every metav1.Condition: other conditions, and fields that do not change, stay; a new condition comes last.
void set_condition(json& conditions, std::string_view type, const Condition& wanted, std::int64_t generation,
                   WallTime now) {
  if (!conditions.is_array()) {
    conditions = json::array();
  }
  json* found = find_condition(conditions, type);
  if (found == nullptr) {
    found = &conditions.emplace_back(json{{"type", type}});
  }
  if (found->value("status", json()) != wanted.status || !found->contains("lastTransitionTime")) {
    (*found)["lastTransitionTime"] = format_time(now);
  }
  (*found)["status"] = wanted.status;
  (*found)["reason"] = wanted.reason;
  (*found)["message"] = stored_message(wanted);
  (*found)["observedGeneration"] = generation;
}

bool says(const json& condition, const Condition& what) {
  return kube::string_at(condition, "/status") == what.status && kube::string_at(condition, "/reason") == what.reason &&
         kube::string_at(condition, "/message") == stored_message(what);
}

Condition ready(const std::optional<std::string>& error) {
  return error ? Condition{.status = "False", .reason = "ReconciliationFailed", .message = capitalised(*error)}
               : Condition{.status = "True",
                           .reason = "ReconciliationSucceeded",
                           .message = "ControllerRing was successfully reconciled"};
}

// The object with what `change` makes of its status; nullopt when that changes nothing.
template <class Change>
Result<std::optional<kube::VersionedObject>> with_status(std::string_view document, Change change) {
  auto object = kube::parse_json(document);
  if (!object || !object->is_object()) {
    return fail(ErrorCode::kInvalid, "ControllerRing: " + (object ? "not an object" : object.error().message));
  }
  const json before = object->contains("status") ? object->at("status") : json();
  json& status = (*object)["status"];
  if (!status.is_object()) {
    status = json::object();
  }
  change(status);
  if (status == before) {
    return std::nullopt;
  }
  auto body = kube::VersionedObject::of(*object);
  if (!body) {
    return fail("ControllerRing", std::move(body.error()));
  }
  return *std::move(body);
}

// Both are required.
void set_counts(json& status, const Outcome& outcome) {
  for (const auto& [key, counted] :
       {std::pair("shards", outcome.shards), {"availableShards", outcome.available_shards}}) {
    if (!outcome.error) {
      status[key] = counted;
    } else if (!status.contains(key)) {
      status[key] = 0;
    }
  }
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
  return with_status(document, [&](json& status) {
    status["observedGeneration"] = outcome.generation;
    set_counts(status, outcome);
    set_condition(status["conditions"], "Ready", ready(outcome.error), outcome.generation, now);
    for (const auto& [type, known] : outcome.others) {
      json* const other = find_condition(status["conditions"], type);
      if (other != nullptr && says(*other, known)) {
        (*other)["observedGeneration"] = outcome.generation;
      }
    }
    for (const MarkCondition& mark : outcome.marks) {
      if (mark.is_news || find_condition(status["conditions"], mark.type) != nullptr) {
        set_condition(status["conditions"], mark.type, mark.condition, outcome.generation, now);
      }
    }
  });
}

Result<std::optional<kube::VersionedObject>> condition_body(std::string_view document, std::string_view type,
                                                            const Condition& condition, std::int64_t generation,
                                                            WallTime now) {
  return with_status(document, [&](json& status) {
    set_counts(status, {.error = ""});
    set_condition(status["conditions"], type, condition, generation, now);
  });
}

}  // namespace sharder::controllerring
