#include "tests/apiserver/validation.h"

#include <algorithm>

#include "base/rfc3339.h"
#include "tests/apiserver/object.h"
#include "tests/apiserver/selector.h"

namespace sharder::apiserver {

namespace {

using nlohmann::json;

constexpr std::size_t kLongestLabel = 63;
constexpr std::size_t kLongestSubdomain = 253;

bool is_lower(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}
bool is_alphanumeric(char c) {
  return is_lower(c) || (c >= 'A' && c <= 'Z');
}

// One or more characters, the outer ones alphanumeric, the inner ones also of `inner`.
template <class Alphanumeric>
bool is_word(std::string_view text, std::string_view inner, Alphanumeric alphanumeric) {
  return !text.empty() && alphanumeric(text.front()) && alphanumeric(text.back()) &&
         std::ranges::all_of(text, [&](char c) { return alphanumeric(c) || inner.contains(c); });
}

std::string too_long(std::size_t limit) {
  return "must be no more than " + std::to_string(limit) + " characters";
}

Cause wrong_value(std::string field, const json& value, std::string_view why) {
  return {"FieldValueInvalid", "Invalid value: " + value.dump() + ": " + std::string(why), std::move(field)};
}
Cause required(std::string field, std::string_view why) {
  return {"FieldValueRequired", "Required value" + (why.empty() ? "" : ": " + std::string(why)), std::move(field)};
}

void check_labels(const json& metadata, std::vector<Cause>& causes) {
  const auto labels = metadata.find("labels");
  if (labels == metadata.end() || !labels->is_object()) {
    return;
  }
  for (const auto& [key, value] : labels->items()) {
    if (const std::string wrong = wrong_label_key(key); !wrong.empty()) {
      causes.push_back(wrong_value("metadata.labels", key, wrong));
    }
    if (const std::string wrong = wrong_label_value(value.get_ref<const std::string&>()); !wrong.empty()) {
      causes.push_back(wrong_value("metadata.labels", value, wrong));
    }
  }
}

void check_annotations(const json& metadata, std::vector<Cause>& causes) {
  const auto annotations = metadata.find("annotations");
  if (annotations == metadata.end() || !annotations->is_object()) {
    return;
  }
  constexpr std::size_t kMost = 256 * 1024;
  std::size_t size = 0;
  for (const auto& [key, value] : annotations->items()) {
    std::string lower = key;
    std::ranges::transform(lower, lower.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
    if (const std::string wrong = wrong_label_key(lower); !wrong.empty()) {
      causes.push_back(wrong_value("metadata.annotations", key, wrong));
    }
    size += key.size() + value.get_ref<const std::string&>().size();
  }
  if (size > kMost) {
    causes.push_back({"FieldValueTooLong", "Too long: may not be more than 262144 bytes", "metadata.annotations"});
  }
}

void check_owners(const json& metadata, std::vector<Cause>& causes) {
  const auto owners = metadata.find("ownerReferences");
  if (owners == metadata.end() || !owners->is_array()) {
    return;
  }
  int controllers = 0;
  for (std::size_t i = 0; i < owners->size(); ++i) {
    const json& owner = (*owners)[i];
    for (const char* field : {"apiVersion", "kind", "name", "uid"}) {
      if (!owner.contains(field) || owner[field] == "") {
        causes.push_back(required("metadata.ownerReferences[" + std::to_string(i) + "]." + field, ""));
      }
    }
    controllers += owner.contains("controller") && owner["controller"] == true ? 1 : 0;
  }
  if (controllers > 1) {
    causes.push_back(wrong_value("metadata.ownerReferences", "", "only one reference can have controller set to true"));
  }
}

void check_lease(const json& object, std::vector<Cause>& causes) {
  const json spec = object.value("spec", json::object());
  if (spec.contains("leaseDurationSeconds") && spec["leaseDurationSeconds"].is_number() &&
      spec["leaseDurationSeconds"] <= 0) {
    causes.push_back(wrong_value("spec.leaseDurationSeconds", spec["leaseDurationSeconds"], "must be greater than 0"));
  }
  if (spec.contains("leaseTransitions") && spec["leaseTransitions"].is_number() && spec["leaseTransitions"] < 0) {
    causes.push_back(wrong_value("spec.leaseTransitions", spec["leaseTransitions"], "must be at least 0"));
  }
}

void check_event(const json& object, std::vector<Cause>& causes) {
  const json involved = object.value("involvedObject", json::object());
  const std::string of = involved.is_object() ? involved.value("namespace", "") : "";
  const std::string place = metadata_string(object, "namespace");
  if (of.empty() ? place != "default" : place != of) {
    causes.push_back(wrong_value("involvedObject.namespace", of, "does not match event.namespace"));
  }
}

void check_webhooks(const json& object, std::vector<Cause>& causes) {
  std::vector<std::string> names;
  const json webhooks = object.value("webhooks", json::array());
  for (std::size_t i = 0; i < webhooks.size(); ++i) {
    const json& webhook = webhooks[i];
    const std::string at = "webhooks[" + std::to_string(i) + "]";
    const std::string name = webhook.value("name", "");
    if (!wrong_dns_subdomain(name).empty() || std::ranges::count(name, '.') < 2) {
      causes.push_back(wrong_value(at + ".name", name, "should be a domain with at least three segments"));
    }
    if (std::ranges::find(names, name) != names.end()) {
      causes.push_back({"FieldValueDuplicate", "Duplicate value: \"" + name + "\"", at + ".name"});
    }
    names.push_back(name);
    const std::string effects = webhook.value("sideEffects", "");
    if (effects.empty()) {
      causes.push_back(required(at + ".sideEffects", "must specify one of None, NoneOnDryRun"));
    } else if (effects != "None" && effects != "NoneOnDryRun") {
      causes.push_back({"FieldValueNotSupported", "Unsupported value: \"" + effects + "\"", at + ".sideEffects"});
    }
    for (const char* selector : {"namespaceSelector", "objectSelector"}) {
      if (const auto parsed = LabelSelector::from_json(webhook.value(selector, json())); !parsed) {
        causes.push_back({"FieldValueInvalid", "Invalid value: " + parsed.error().message, at + "." + selector});
      }
    }
    if (webhook.value("admissionReviewVersions", json::array()).empty()) {
      causes.push_back(required(at + ".admissionReviewVersions", "must specify one of v1, v1beta1"));
    }
    const json config = webhook.value("clientConfig", json::object());
    if (config.contains("url") == config.contains("service")) {
      causes.push_back(required(at + ".clientConfig", "exactly one of url or service is required"));
    } else if (config.contains("url") && !config["url"].get_ref<const std::string&>().starts_with("https://")) {
      causes.push_back(wrong_value(at + ".clientConfig.url", config["url"], "'https' is the only allowed URL scheme"));
    }
    const auto timeout = webhook.value("timeoutSeconds", 10);
    if (timeout < 1 || timeout > 30) {
      causes.push_back(wrong_value(at + ".timeoutSeconds", timeout, "must be between 1 and 30 seconds"));
    }
    const std::string policy = webhook.value("failurePolicy", "Fail");
    if (policy != "Fail" && policy != "Ignore") {
      causes.push_back({"FieldValueNotSupported", "Unsupported value: \"" + policy + "\"", at + ".failurePolicy"});
    }
  }
}

}  // namespace

std::string wrong_dns_label(std::string_view name) {
  if (name.size() > kLongestLabel) {
    return too_long(kLongestLabel);
  }
  return is_word(name, "-", is_lower) ? "" : "a lowercase RFC 1123 label has only a-z, 0-9 and '-', which is inside";
}

std::string wrong_dns_subdomain(std::string_view name) {
  if (name.size() > kLongestSubdomain) {
    return too_long(kLongestSubdomain);
  }
  while (true) {
    const std::size_t dot = name.find('.');
    if (!is_word(name.substr(0, dot), "-", is_lower)) {
      return "a lowercase RFC 1123 subdomain has only a-z, 0-9, '-' and '.', each part alphanumeric outside";
    }
    if (dot == std::string_view::npos) {
      return {};
    }
    name.remove_prefix(dot + 1);
  }
}

std::string wrong_label_key(std::string_view key) {
  const std::size_t slash = key.find('/');
  std::string_view name = key;
  if (slash != std::string_view::npos) {
    if (const std::string wrong = wrong_dns_subdomain(key.substr(0, slash)); !wrong.empty()) {
      return "prefix part " + wrong;
    }
    name.remove_prefix(slash + 1);
  }
  if (name.size() > kLongestLabel) {
    return "name part " + too_long(kLongestLabel);
  }
  return is_word(name, "-_.", is_alphanumeric)
             ? ""
             : "name part must consist of alphanumeric characters, '-', '_' or '.', alphanumeric outside";
}

std::string wrong_label_value(std::string_view value) {
  if (value.size() > kLongestLabel) {
    return too_long(kLongestLabel);
  }
  return value.empty() || is_word(value, "-_.", is_alphanumeric)
             ? ""
             : "a valid label is empty or has alphanumeric characters, '-', '_' or '.', alphanumeric outside";
}

std::string wrong_name(const Resource& resource, std::string_view name) {
  if (resource.free_name) {
    return name == "." || name == ".." || name.find_first_of("/%") != std::string_view::npos
               ? "may not be '.' or '..' or contain '/' or '%'"
               : "";
  }
  return resource.dns_label_name ? wrong_dns_label(name) : wrong_dns_subdomain(name);
}

std::vector<Cause> wrong_fields(const Resource& resource, const json& object) {
  std::vector<Cause> causes;
  const json& metadata = object.at("metadata");
  const std::string name = metadata_string(object, "name");
  if (name.empty()) {
    causes.push_back(required("metadata.name", "name or generateName is required"));
  } else if (const std::string wrong = wrong_name(resource, name); !wrong.empty()) {
    causes.push_back(wrong_value("metadata.name", name, wrong));
  }
  check_labels(metadata, causes);
  check_annotations(metadata, causes);
  check_owners(metadata, causes);
  if (resource.plural == "leases") {
    check_lease(object, causes);
  } else if (resource.plural == "events") {
    check_event(object, causes);
  } else if (resource.plural == "mutatingwebhookconfigurations") {
    check_webhooks(object, causes);
  }
  return causes;
}

std::vector<Cause> wrong_changes(const Resource& resource, const json& before, const json& after) {
  std::vector<Cause> causes;
  for (const char* field : {"name", "namespace"}) {
    if (const std::string now = metadata_string(after, field); now != metadata_string(before, field)) {
      causes.push_back(wrong_value(std::string("metadata.") + field, now, "field is immutable"));
    }
  }
  const bool has_data = resource.group.empty() && (resource.plural == "secrets" || resource.plural == "configmaps");
  if (has_data && before.value("immutable", false)) {
    for (const char* field : {"immutable", "data", "binaryData", "stringData"}) {
      if (before.value(field, json()) != after.value(field, json())) {
        causes.push_back({"FieldValueForbidden", "Forbidden: field is immutable when `immutable` is set", field});
      }
    }
  }
  if (has_data && resource.plural == "secrets" && before.value("type", "") != after.value("type", "")) {
    causes.push_back(wrong_value("type", after.value("type", ""), "field is immutable"));
  }
  return causes;
}

}  // namespace sharder::apiserver
