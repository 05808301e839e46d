#include "tests/apiserver/webhook_rules.h"

#include <algorithm>
#include <utility>

#include "base/base64.h"

namespace sharder::apiserver {

using nlohmann::json;

namespace {

bool any_of(const std::vector<std::string>& values, const std::string& wanted) {
  return std::ranges::any_of(values, [&](const std::string& value) { return value == "*" || value == wanted; });
}

// "pods", "pods/status", "pods/*", "*/status", "*" (without subresources), "*/*".
bool names_resource(const std::string& pattern, const std::string& plural, const std::string& subresource) {
  const std::size_t slash = pattern.find('/');
  const std::string resource = pattern.substr(0, slash);
  const std::string rest = slash == std::string::npos ? "" : pattern.substr(slash + 1);
  return (resource == "*" || resource == plural) && (rest == subresource || rest == "*");
}

std::vector<std::string> strings(const json& object, const char* name) {
  return object.value(name, std::vector<std::string>());
}

Webhook webhook_of(const json& object) {
  Webhook webhook{.name = object.value("name", ""),
                  .ignore_failures = object.value("failurePolicy", "Fail") == "Ignore",
                  .timeout = std::chrono::seconds(object.value("timeoutSeconds", 10))};
  const std::string effects = object.value("sideEffects", "None");
  webhook.no_side_effects = effects == "None" || effects == "NoneOnDryRun";
  const json config = object.value("clientConfig", json::object());
  webhook.url = config.value("url", "");
  if (config.contains("service")) {
    const json& service = config["service"];
    webhook.service = service.value("namespace", "") + "/" + service.value("name", "") + ":" +
                      std::to_string(service.value("port", 443));
    webhook.service_path = service.value("path", "/");
  }
  webhook.ca_bundle_pem = decode_base64(config.value("caBundle", "")).value_or("");
  for (const json& rule : object.value("rules", json::array())) {
    webhook.rules.push_back({.operations = strings(rule, "operations"),
                             .groups = strings(rule, "apiGroups"),
                             .versions = strings(rule, "apiVersions"),
                             .resources = strings(rule, "resources"),
                             .scope = rule.value("scope", "*")});
  }
  const auto namespaces = LabelSelector::from_json(object.value("namespaceSelector", json()));
  const auto objects = LabelSelector::from_json(object.value("objectSelector", json()));
  if (!namespaces || !objects) {
    webhook.rules.clear();
  } else {
    webhook.namespace_selector = *namespaces;
    webhook.object_selector = *objects;
  }
  return webhook;
}

json kind_of(const Resource& resource) {
  return {{"group", resource.group}, {"version", resource.version}, {"kind", resource.kind}};
}

json resource_of(const Resource& resource) {
  return {{"group", resource.group}, {"version", resource.version}, {"resource", resource.plural}};
}

Status refusal(const Webhook& webhook, const json& response) {
  const json given = response.value("status", json::object());
  const std::string message = given.value("message", "");
  const std::string prefix = "admission webhook \"" + webhook.name + "\" denied the request";
  int code = given.value("code", 400);
  code = code >= 400 && code < 600 ? code : 400;
  Status status = failure(code, message.empty() ? prefix + " without explanation" : prefix + ": " + message);
  status.reason = given.value("reason", status.reason);
  return status;
}

}  // namespace

bool WebhookRule::matches(const AdmissionInput& input) const {
  const Resource& resource = *input.resource;
  const bool scoped = scope == "*" || (scope == "Namespaced") == resource.namespaced;
  return scoped && any_of(operations, input.operation) && any_of(groups, resource.group) &&
         any_of(versions, resource.version) && std::ranges::any_of(resources, [&](const std::string& pattern) {
           return names_resource(pattern, resource.plural, input.subresource);
         });
}

std::vector<Webhook> webhooks_of(const json& configuration) {
  std::vector<Webhook> webhooks;
  for (const json& object : configuration.value("webhooks", json::array())) {
    try {
      webhooks.push_back(webhook_of(object));
    } catch (const json::exception&) {
      continue;  // of a wrong type: matches nothing
    }
  }
  return webhooks;
}

bool meets(const Webhook& webhook, const AdmissionInput& input, const std::optional<Labels>& namespace_labels) {
  if (input.resource->group == "admissionregistration.k8s.io") {
    return false;  // or a webhook could lock everybody out
  }
  if (std::ranges::none_of(webhook.rules, [&](const WebhookRule& rule) { return rule.matches(input); })) {
    return false;
  }
  const bool is_namespace = input.resource->group.empty() && input.resource->plural == "namespaces";
  if (is_namespace && !input.object.is_null()) {
    if (!webhook.namespace_selector.matches(labels_of(input.object))) {
      return false;
    }
  } else if (namespace_labels && !webhook.namespace_selector.matches(*namespace_labels)) {
    return false;
  }
  return (!input.object.is_null() && webhook.object_selector.matches(labels_of(input.object))) ||
         (!input.old_object.is_null() && webhook.object_selector.matches(labels_of(input.old_object)));
}

json review_of(const AdmissionInput& input, const std::string& uid) {
  const char* options = input.operation == "CREATE" ? "CreateOptions" : "UpdateOptions";
  json request = {{"uid", uid},
                  {"kind", kind_of(*input.resource)},
                  {"resource", resource_of(*input.resource)},
                  {"requestKind", kind_of(*input.resource)},
                  {"requestResource", resource_of(*input.resource)},
                  {"operation", input.operation},
                  {"userInfo", {{"username", input.user}, {"groups", {"system:masters", "system:authenticated"}}}},
                  {"object", input.object},
                  {"oldObject", input.old_object},
                  {"dryRun", input.dry_run},
                  {"options", {{"kind", options}, {"apiVersion", "meta.k8s.io/v1"}}}};
  if (!input.manager.empty()) {
    request["options"]["fieldManager"] = input.manager;
  }
  const auto add = [&](const char* name, const std::string& value) {
    if (!value.empty()) {
      request[name] = value;
    }
  };
  add("name", input.name);
  add("namespace", input.object_namespace);
  add("subResource", input.subresource);
  add("requestSubResource", input.subresource);
  return {{"kind", "AdmissionReview"}, {"apiVersion", "admission.k8s.io/v1"}, {"request", std::move(request)}};
}

Verdict verdict_of(const Webhook& webhook, const std::string& answer, const std::string& uid) {
  const json review = json::parse(answer, nullptr, false);
  try {
    if (review.is_discarded() || review.value("apiVersion", "") != "admission.k8s.io/v1" ||
        review.value("kind", "") != "AdmissionReview" || !review.contains("response")) {
      return {.broken = "expected an AdmissionReview of admission.k8s.io/v1 with a response"};
    }
    const json& response = review.at("response");
    if (response.value("uid", "") != uid) {
      return {.broken = "expected response.uid=\"" + uid + "\""};
    }
    if (!response.value("allowed", false)) {
      return {.refusal = refusal(webhook, response)};
    }
    if (!response.contains("patch")) {
      return {};
    }
    if (response.value("patchType", "") != "JSONPatch") {
      return {.broken = "expected response.patchType JSONPatch"};
    }
    const auto bytes = decode_base64(response.at("patch").get_ref<const std::string&>());
    json patch = bytes ? json::parse(*bytes, nullptr, false) : json(json::value_t::discarded);
    if (patch.is_discarded()) {
      return {.broken = "the patch cannot be decoded"};
    }
    return {.patch = std::move(patch)};
  } catch (const json::exception& error) {
    return {.broken = error.what()};
  }
}

}  // namespace sharder::apiserver
