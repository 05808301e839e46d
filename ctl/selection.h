#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "ctl/cluster.h"
#include "ctl/rings.h"
#include "ring/label_selector.h"

namespace sharder::ctl {

// A ring's MutatingWebhookConfiguration, as it stands in the cluster.
struct WebhookFacts {
  bool exists = false;
  std::optional<ring::LabelSelector> namespace_selector;
  std::string ca_pem;  // "" without a caBundle
  struct Rule {
    std::string group, resource;
  };
  std::vector<Rule> rules;

  bool calls_for(const kube::Resource& resource) const;
};

bool is_webhook_of(const nlohmann::json& configuration, const std::string& ring);
WebhookFacts decode_webhook(const nlohmann::json& configuration);
// nullopt: it may not be read; `gaps` has the reason.
std::optional<WebhookFacts> read_webhook(Cluster& cluster, const std::string& ring, std::vector<Gap>& gaps);

// Which objects a ring selects, as far as it can be known.
struct Selection {
  enum class Source {
    kRing,      // the ring has a namespaceSelector
    kWebhook,   // it has none, and its webhook configuration shows the configured default
    kProtocol,  // its webhook configuration cannot be read: the protocol's default
  };
  using Labels = std::map<std::string, std::string>;

  Source source = Source::kProtocol;
  ring::LabelSelector selector;
  bool by_name = true;  // only the names of namespaces matter
  // Their labels, unless only names matter; nullopt: they may not be read.
  std::optional<std::map<std::string, Labels>> namespaces;

  // Whether the ring selects this namespace; nullopt: not known.
  std::optional<bool> selects_namespace(const std::string& name) const;
  // Whether the ring selects an object of the resource.
  std::optional<bool> selects(const kube::Resource& resource, const kube::ObjectMeta& object) const;
};

// The selector that holds for the ring. Pure.
Selection selection_of(const RingFacts& ring, const std::optional<WebhookFacts>& webhook);
// The same, with the labels of the namespaces where they matter.
Selection read_selection(Cluster& cluster, const RingFacts& ring, const std::optional<WebhookFacts>& webhook,
                         std::vector<Gap>& gaps);

}  // namespace sharder::ctl
