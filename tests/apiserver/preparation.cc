#include "tests/apiserver/preparation.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <random>
#include <utility>

#include "base/base64.h"
#include "base/rfc3339.h"
#include "tests/apiserver/catalog.h"
#include "tests/apiserver/object.h"

namespace sharder::apiserver {

using nlohmann::json;

namespace {

std::mt19937_64& generator() {
  thread_local std::mt19937_64 random(std::random_device{}());
  return random;
}

void set_default(json& object, const char* name, json value) {
  if (!object.contains(name) || object[name].is_null()) {
    object[name] = std::move(value);
  }
}

void webhook_defaults(json& object) {
  if (!object.contains("webhooks") || !object["webhooks"].is_array()) {
    return;
  }
  const bool mutating = object.value("kind", "") == "MutatingWebhookConfiguration";
  for (json& webhook : object["webhooks"]) {
    set_default(webhook, "failurePolicy", "Fail");
    set_default(webhook, "matchPolicy", "Equivalent");
    set_default(webhook, "namespaceSelector", json::object());
    set_default(webhook, "objectSelector", json::object());
    set_default(webhook, "timeoutSeconds", 10);
    if (mutating) {
      set_default(webhook, "reinvocationPolicy", "Never");
    }
    if (webhook.contains("clientConfig") && webhook["clientConfig"].contains("service")) {
      set_default(webhook["clientConfig"]["service"], "port", 443);
    }
    if (webhook.contains("rules")) {
      for (json& rule : webhook["rules"]) {
        set_default(rule, "scope", "*");
      }
    }
  }
}

void secret_defaults(json& object) {
  set_default(object, "type", "Opaque");
  if (object.contains("stringData")) {
    for (const auto& [key, value] : object["stringData"].items()) {
      object["data"][key] = encode_base64(value.is_string() ? value.get<std::string>() : "");
    }
    object.erase("stringData");
  }
}

// The parts that count for the generation: all but metadata and status.
json spec_of(const json& object) {
  json result = object;
  result.erase("metadata");
  result.erase("status");
  return result;
}

std::string without_times(const json& metadata) {
  json copy = metadata;
  copy.erase("resourceVersion");
  if (copy.contains("managedFields")) {
    for (json& entry : copy["managedFields"]) {
      entry.erase("time");
    }
  }
  return copy.dump();
}

Outcome<void> check_preconditions(const Resource& resource, const json& before, const json& after, bool put) {
  const std::string name = metadata_string(before, "name");
  const std::string uid = metadata_string(after, "uid");
  if (!put && !uid.empty() && uid != metadata_string(before, "uid")) {
    return refuse(invalid(
        resource, name, {{"FieldValueInvalid", "Invalid value: \"" + uid + "\": field is immutable", "metadata.uid"}}));
  }
  if (!uid.empty() && uid != metadata_string(before, "uid")) {
    return refuse(conflict(resource, name,
                           "Precondition failed: UID in precondition: " + uid +
                               ", UID in object meta: " + metadata_string(before, "uid")));
  }
  const std::string version = metadata_string(after, "resourceVersion");
  if (!version.empty() && version != metadata_string(before, "resourceVersion")) {
    if (version.find_first_not_of("0123456789") != std::string::npos) {
      return refuse(invalid(
          resource, name,
          {{"FieldValueInvalid", "Invalid value: \"" + version + "\": must be a number", "metadata.resourceVersion"}}));
    }
    return refuse(modified(resource, name));
  }
  if (version.empty() && put && !resource.unconditional_update) {
    return refuse(invalid(
        resource, name,
        {{"FieldValueInvalid", "Invalid value: 0: must be specified for an update", "metadata.resourceVersion"}}));
  }
  return {};
}

}  // namespace

std::string random_uid() {
  const std::uint64_t high = generator()();
  const std::uint64_t low = generator()();
  std::array<char, 40> text{};
  std::snprintf(text.data(), text.size(), "%08x-%04x-4%03x-%04x-%012llx", static_cast<unsigned>(high >> 32U),
                static_cast<unsigned>((high >> 16U) & 0xFFFFU), static_cast<unsigned>(high & 0xFFFU),
                static_cast<unsigned>(((low >> 48U) & 0x3FFFU) | 0x8000U),
                static_cast<unsigned long long>(low & 0xFFFFFFFFFFFFULL));
  return text.data();
}

std::string generated_name(std::string_view prefix) {
  constexpr std::string_view kAlphabet = "bcdfghjklmnpqrstvwxz2456789";
  constexpr std::size_t kRandom = 5;
  constexpr std::size_t kLongest = 63;
  std::string name(prefix.substr(0, kLongest - kRandom));
  for (std::size_t i = 0; i < kRandom; ++i) {
    name += kAlphabet[generator()() % kAlphabet.size()];
  }
  return name;
}

void set_defaults(const Resource& resource, json& object, WallTime now) {
  if (resource.group == "admissionregistration.k8s.io") {
    webhook_defaults(object);
  } else if (resource.group == "apiextensions.k8s.io") {
    complete_definition(object, format_time(now));
  } else if (!resource.group.empty()) {
    return;
  } else if (resource.plural == "secrets") {
    secret_defaults(object);
  } else if (resource.plural == "namespaces") {
    object["metadata"]["labels"]["kubernetes.io/metadata.name"] = metadata_string(object, "name");
    set_default(object["spec"], "finalizers", {"kubernetes"});
    set_default(object["status"], "phase", "Active");
  }
}

void prepare_create(const Resource& resource, json& object, WallTime now) {
  json& metadata = object["metadata"];
  for (const char* field : {"resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink",
                            "generation", "managedFields"}) {
    metadata.erase(field);
  }
  if (!resource.namespaced) {
    metadata.erase("namespace");
  }
  if (resource.status_subresource) {
    object.erase("status");
  }
  if (resource.has_generation) {
    metadata["generation"] = 1;
  }
  metadata["uid"] = random_uid();
  metadata["creationTimestamp"] = format_time(now);
}

Outcome<json> prepare_update(const Resource& resource, const json& before, json after, std::string_view subresource,
                             bool put) {
  if (auto wrong = check_preconditions(resource, before, after, put); !wrong) {
    return refuse(wrong.error());
  }
  if (subresource == "status") {
    json result = before;
    if (after.contains("status")) {
      result["status"] = std::move(after["status"]);
    } else {
      result.erase("status");
    }
    if (after["metadata"].contains("managedFields")) {
      result["metadata"]["managedFields"] = std::move(after["metadata"]["managedFields"]);
    }
    return result;
  }
  if (resource.status_subresource) {
    after.erase("status");
    if (before.contains("status")) {
      after["status"] = before["status"];
    }
  }
  const json& old = before.at("metadata");
  json& metadata = after["metadata"];
  for (const char* field :
       {"uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "generateName"}) {
    metadata.erase(field);
    if (old.contains(field)) {
      metadata[field] = old[field];
    }
  }
  if (put || !metadata.contains("managedFields")) {
    metadata.erase("managedFields");  // whoever replaces the object does not say who owns what
    if (old.contains("managedFields")) {
      metadata["managedFields"] = old["managedFields"];
    }
  }
  if (old.contains("deletionTimestamp")) {
    const json known = old.value("finalizers", json::array());
    for (const json& finalizer : metadata.value("finalizers", json::array())) {
      if (std::ranges::find(known, finalizer) == known.end()) {
        return refuse(invalid(resource, metadata_string(before, "name"),
                              {{"FieldValueForbidden",
                                "Forbidden: no new finalizers can be added if the object is being deleted, found new "
                                "finalizers " +
                                    finalizer.dump(),
                                "metadata.finalizers"}}));
      }
    }
  }
  if (resource.has_generation && spec_of(before) != spec_of(after)) {
    metadata["generation"] = old.value("generation", 0) + 1;
  }
  return after;
}

bool same_content(const json& before, const json& after) {
  if (before.size() != after.size() || without_times(before.at("metadata")) != without_times(after.at("metadata"))) {
    return false;
  }
  for (const auto& [name, value] : before.items()) {
    if (name != "metadata" && (!after.contains(name) || after[name] != value)) {
      return false;
    }
  }
  return true;
}

}  // namespace sharder::apiserver
