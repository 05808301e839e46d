#include "controllerring/webhook_configuration.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/base64.h"
#include "kube/client/resource.h"
#include "kube/codec/json.h"
#include "ring/names.h"

namespace sharder::controllerring {

namespace {

using kube::field_of;
using nlohmann::json;

// An empty selector is {}: it selects everything, and is not the same as none.
json selector_json(const ring::LabelSelector& selector) {
  json result = json::object();
  if (!selector.match_labels.empty()) {
    result["matchLabels"] = selector.match_labels;
  }
  for (const ring::SelectorRequirement& requirement : selector.match_expressions) {
    json expression = {{"key", requirement.key}, {"operator", to_string(requirement.op)}};
    if (!requirement.values.empty()) {
      expression["values"] = requirement.values;
    }
    result["matchExpressions"].push_back(std::move(expression));
  }
  return result;
}

json rule(const ring::GroupResource& resource) {
  return {{"apiGroups", {resource.group}},
          {"apiVersions", {"*"}},
          {"operations", {"CREATE", "UPDATE"}},
          {"resources", {resource.resource}},
          {"scope", "*"}};
}

// In the order of the spec: a main resource, its controlled ones, the next main.
json rules(const ring::ControllerRing& ring) {
  json result = json::array();
  for (const ring::RingResource& resource : ring.resources) {
    result.push_back(rule(resource.main));
    for (const ring::GroupResource& controlled : resource.controlled) {
      result.push_back(rule(controlled));
    }
  }
  return result;
}

std::string without_trailing_slashes(std::string text) {
  text.erase(text.find_last_not_of('/') + 1);
  return text;
}

json client_config(const std::string& ring, const WebhookClientConfig& config, CaBundle ca_bundle) {
  json result = json::object();
  const std::string path = std::string(ring::kWebhookPathPrefix) + ring;
  if (!config.url.empty()) {
    result["url"] = without_trailing_slashes(config.url) + path;
  } else {
    result["service"] = {{"namespace", config.service.service_namespace},
                         {"name", config.service.name},
                         {"path", without_trailing_slashes(config.service.path) + path}};
    if (config.service.port) {
      result["service"]["port"] = *config.service.port;
    }
  }
  if (!config.ca_bundle.empty() && ca_bundle == CaBundle::kAsConfigured) {
    result["caBundle"] = config.ca_bundle;
  }
  return result;
}

json metadata(const ring::ControllerRing& ring, const WebhookSettings& settings) {
  json result = {{"name", webhook_configuration_name(ring.name)},
                 {"labels", {{ring::kRingLabel, ring.name}, {"app.kubernetes.io/name", ring::kAppName}}}};
  result["ownerReferences"].push_back(
      {{"apiVersion", kube::kControllerRings.group + "/" + kube::kControllerRings.version},
       {"kind", kube::kControllerRings.kind},
       {"name", ring.name},
       {"uid", ring.uid},
       {"controller", true},
       {"blockOwnerDeletion", true}});
  if (!settings.annotations.empty()) {
    result["annotations"] = settings.annotations;
  }
  return result;
}

constexpr const char* kSelector = "namespaceSelector";
constexpr const char* kClientConfig = "clientConfig";
constexpr const char* kCaBundle = "caBundle";
const json kAbsent;

// The element whose `key` has this value, else null: a configuration's lists are maps by a key.
const json& element(const json& list, const char* key, const json& value) {
  const auto found = std::ranges::find_if(list, [&](const json& each) { return field_of(each, key) == value; });
  return found == list.end() ? kAbsent : *found;
}

// Server-side apply merges objects field by field and replaces lists, and selectors, as a whole. A field that we leave
// out (null) is covered by any value.
bool covers(const json& live, const json& ours) {
  if (ours.is_null()) {
    return true;
  }
  if (!ours.is_object() || !live.is_object()) {
    return live == ours;
  }
  for (const auto& [key, value] : ours.items()) {
    const auto found = live.find(key);
    if (found == live.end() || !(key.ends_with("Selector") ? *found == value : covers(*found, value))) {
      return false;
    }
  }
  return true;
}

// Whether `narrow` demands all that `broad` demands. The requirements of a selector are ANDed.
bool demands_all_of(const json& narrow, const json& broad) {
  return covers(field_of(narrow, "matchLabels"), field_of(broad, "matchLabels")) &&
         std::ranges::all_of(field_of(broad, "matchExpressions"), [&](const json& expression) {
           const json& demands = field_of(narrow, "matchExpressions");
           return std::ranges::find(demands, expression) != demands.end();
         });
}

const json& our_webhook(const json& wanted) {
  return wanted.at("webhooks").at(0);
}

const json& live_webhook(const json& wanted, const json& live) {
  return element(field_of(live, "webhooks"), "name", our_webhook(wanted).at("name"));
}

// Whether our applies own the caBundle of the webhook: its value is what the last of them said.
bool owns_ca_bundle(const json& live, const std::string& webhook) {
  return std::ranges::any_of(field_of(field_of(live, "metadata"), "managedFields"), [&](const json& entry) {
    const json& webhooks = field_of(field_of(entry, "fieldsV1"), "f:webhooks");
    const json& fields = field_of(webhooks, "k:" + json{{"name", webhook}}.dump());
    return field_of(entry, "manager") == kFieldManager && field_of(entry, "operation") == "Apply" &&
           field_of(fields, "f:clientConfig").contains("f:caBundle");
  });
}

// With an empty line at the end, a bundle differs from what an injector writes.
std::string with_empty_line(std::string pem) {
  while (!pem.ends_with("\n\n")) {
    pem += '\n';
  }
  return pem;
}

}  // namespace

std::string webhook_configuration_name(std::string_view ring) {
  return "controllerring-" + std::string(ring);
}

std::string webhook_configuration(const ring::ControllerRing& ring, const WebhookSettings& settings,
                                  CaBundle ca_bundle) {
  const json unassigned = {{"key", ring::shard_label(ring.name)}, {"operator", "DoesNotExist"}};
  json webhook = {{"name", kWebhookName},
                  {"clientConfig", client_config(ring.name, settings.client_config, ca_bundle)},
                  {"namespaceSelector", selector_json(ring.namespace_selector.value_or(settings.namespace_selector))},
                  {"failurePolicy", "Ignore"},
                  {"timeoutSeconds", 5},
                  {"sideEffects", "None"}};
  webhook["objectSelector"]["matchExpressions"].push_back(unassigned);
  webhook["admissionReviewVersions"].push_back("v1");
  // No resources, no rules: the field is left out then, as the Go sharder does.
  if (json list = rules(ring); !list.empty()) {
    webhook["rules"] = std::move(list);
  }
  json result = {{"apiVersion", kube::kMutatingWebhookConfigurations.group + "/v1"},
                 {"kind", kube::kMutatingWebhookConfigurations.kind},
                 {"metadata", metadata(ring, settings)}};
  result["webhooks"].push_back(std::move(webhook));
  return result.dump();
}

bool is_in_place(const std::string& wanted, std::string_view live) {
  const auto object = kube::parse_json(live);
  if (!object) {
    return false;
  }
  const json ours = json::parse(wanted);
  const json& metadata = field_of(*object, "metadata");
  const json& owner = ours.at("metadata").at("ownerReferences").at(0);
  return covers(field_of(metadata, "labels"), ours.at("metadata").at("labels")) &&
         covers(field_of(metadata, "annotations"), field_of(ours.at("metadata"), "annotations")) &&
         covers(element(field_of(metadata, "ownerReferences"), "uid", owner.at("uid")), owner) &&
         covers(live_webhook(ours, *object), our_webhook(ours));
}

std::optional<std::string> with_narrowed_selector(const std::string& wanted, std::string_view live) {
  const auto object = kube::parse_json(live);
  json ours = json::parse(wanted);
  if (!object) {
    return std::nullopt;
  }
  const json& selector = field_of(live_webhook(ours, *object), kSelector);
  json& our_selector = ours.at("webhooks").at(0).at(kSelector);
  if (!selector.is_object() || selector == our_selector || !demands_all_of(selector, our_selector)) {
    return std::nullopt;
  }
  our_selector = selector;
  return ours.dump();
}

std::optional<std::string> with_own_ca_bundle(const std::string& wanted, std::string_view live) {
  const auto object = kube::parse_json(live);
  json ours = json::parse(wanted);
  if (!object || !owns_ca_bundle(*object, our_webhook(ours).at("name"))) {
    return std::nullopt;
  }
  const json& client = field_of(live_webhook(ours, *object), kClientConfig);
  const auto bundle = decode_base64(kube::string_of(field_of(client, kCaBundle)));
  const std::string version = kube::string_at(*object, "/metadata/resourceVersion");
  if (!bundle || bundle->empty() || version.empty()) {
    return std::nullopt;
  }
  ours["webhooks"][0][kClientConfig][kCaBundle] = encode_base64(with_empty_line(*bundle));
  ours["metadata"]["resourceVersion"] = version;
  return ours.dump();
}

}  // namespace sharder::controllerring
