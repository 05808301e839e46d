#include "ctl/selection.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/base64.h"
#include "controllerring/webhook_configuration.h"
#include "kube/codec/json.h"
#include "membership/label_selector.h"

namespace sharder::ctl {

namespace {

using nlohmann::json;

// The API server gives it to every namespace.
constexpr std::string_view kNameLabel = "kubernetes.io/metadata.name";

// Protocol, 2.
ring::LabelSelector protocol_default() {
  return {.match_labels = {},
          .match_expressions = {{.key = std::string(kNameLabel),
                                 .op = ring::SelectorOperator::kNotIn,
                                 .values = {"kube-system", "sharding-system"}}}};
}

bool only_names_matter(const ring::LabelSelector& selector) {
  const auto is_name = [](const std::string& key) { return key == kNameLabel; };
  return std::ranges::all_of(selector.match_labels, is_name, [](const auto& label) { return label.first; }) &&
         std::ranges::all_of(selector.match_expressions, is_name, &ring::SelectorRequirement::key);
}

bool matches(const std::string& pattern, const std::string& value) {
  return pattern == "*" || pattern == value;
}

}  // namespace

bool WebhookFacts::calls_for(const kube::Resource& resource) const {
  return std::ranges::any_of(rules, [&resource](const Rule& rule) {
    return matches(rule.group, resource.group) && matches(rule.resource, resource.plural);
  });
}

bool is_webhook_of(const json& configuration, const std::string& ring) {
  return kube::string_at(configuration, "/metadata/name") == controllerring::webhook_configuration_name(ring);
}

WebhookFacts decode_webhook(const json& configuration) {
  WebhookFacts facts{.exists = true, .namespace_selector = {}, .ca_pem = {}, .rules = {}};
  for (const json& webhook : kube::elements_of(kube::value_at(configuration, "/webhooks"))) {
    if (kube::string_at(webhook, "/name") != controllerring::kWebhookName) {
      continue;
    }
    if (auto selector = membership::decode_label_selector(kube::value_at(webhook, "/namespaceSelector"))) {
      facts.namespace_selector = *std::move(selector);
    }
    facts.ca_pem = decode_base64(kube::string_at(webhook, "/clientConfig/caBundle")).value_or("");
    for (const json& rule : kube::elements_of(kube::value_at(webhook, "/rules"))) {
      for (const json& group : kube::elements_of(kube::value_at(rule, "/apiGroups"))) {
        for (const json& resource : kube::elements_of(kube::value_at(rule, "/resources"))) {
          facts.rules.push_back({.group = kube::string_of(group), .resource = kube::string_of(resource)});
        }
      }
    }
  }
  return facts;
}

std::optional<WebhookFacts> read_webhook(Cluster& cluster, const std::string& ring, std::vector<Gap>& gaps) {
  auto configuration =
      cluster.get(kube::kMutatingWebhookConfigurations, "", controllerring::webhook_configuration_name(ring));
  if (configuration) {
    return decode_webhook(*configuration);
  }
  if (configuration.error().code == ErrorCode::kNotFound) {
    return WebhookFacts();
  }
  gaps.push_back({.verb = "get",
                  .resource = name_of(kube::kMutatingWebhookConfigurations),
                  .error = std::move(configuration.error())});
  return std::nullopt;
}

std::optional<bool> Selection::selects_namespace(const std::string& name) const {
  if (selector == ring::LabelSelector()) {
    return true;
  }
  if (by_name) {
    return selector.matches({{std::string(kNameLabel), name}});
  }
  if (!namespaces) {
    return std::nullopt;
  }
  const auto labels = namespaces->find(name);
  return labels == namespaces->end() ? std::nullopt : std::optional(selector.matches(labels->second));
}

std::optional<bool> Selection::selects(const kube::Resource& resource, const kube::ObjectMeta& object) const {
  if (resource.namespaced) {
    return selects_namespace(object.object_namespace);
  }
  // As in the API server: a Namespace by its own labels, other cluster-scoped objects always.
  return resource.group != kube::kNamespaces.group || resource.plural != kube::kNamespaces.plural ||
         selector.matches({object.labels.begin(), object.labels.end()});
}

Selection selection_of(const RingFacts& ring, const std::optional<WebhookFacts>& webhook) {
  Selection selection;
  if (ring.object.spec.namespace_selector) {
    selection.source = Selection::Source::kRing;
    selection.selector = *ring.object.spec.namespace_selector;
  } else if (webhook && webhook->namespace_selector) {
    selection.source = Selection::Source::kWebhook;
    selection.selector = *webhook->namespace_selector;
  } else {
    selection.selector = protocol_default();
  }
  selection.by_name = only_names_matter(selection.selector);
  return selection;
}

Selection read_selection(Cluster& cluster, const RingFacts& ring, const std::optional<WebhookFacts>& webhook,
                         std::vector<Gap>& gaps) {
  Selection selection = selection_of(ring, webhook);
  if (selection.by_name) {
    return selection;
  }
  std::map<std::string, Selection::Labels> namespaces;
  const auto listed = cluster.list_metadata(kube::kNamespaces, "", "", [&namespaces](const kube::ObjectMeta& object) {
    namespaces[object.name] = {object.labels.begin(), object.labels.end()};
  });
  if (listed) {
    selection.namespaces = std::move(namespaces);
  } else {
    gaps.push_back({.verb = "list", .resource = name_of(kube::kNamespaces), .error = listed.error()});
  }
  return selection;
}

}  // namespace sharder::ctl
