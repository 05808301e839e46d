#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "ring/label_selector.h"
#include "ring/names.h"

// Plain values that the configuration file fills (protocol, 7: webhook.config, controller.sharder).
namespace sharder::controllerring {

// admissionregistration.k8s.io/v1 ServiceReference, already completed: these defaults apply to every field that the
// configuration omits.
struct WebhookService {
  std::string service_namespace{ring::kSystemNamespace};
  std::string name = "sharder";
  std::optional<std::int32_t> port = {};  // absent: left to the API server's default, 443
  std::string path = {};                  // "" or a prefix; the ring's webhook path is appended
  bool operator==(const WebhookService&) const = default;
};

// How the API server reaches the webhook. `url`, when it is not empty, wins over `service`.
struct WebhookClientConfig {
  // "https://host:port/prefix", with or without a trailing "/"; the ring's webhook path is appended.
  std::string url = {};
  WebhookService service = {};
  // Base64 of the PEM roots, as in the manifest; "": somebody else injects them, and the field is never applied.
  std::string ca_bundle = {};
  bool operator==(const WebhookClientConfig&) const = default;
};

// The namespaceSelector of a ring that has none of its own (protocol, 2).
inline ring::LabelSelector default_namespace_selector() {
  return {.match_labels = {},
          .match_expressions = {{.key = "kubernetes.io/metadata.name",
                                 .op = ring::SelectorOperator::kNotIn,
                                 .values = {"kube-system", std::string(ring::kSystemNamespace)}}}};
}

// webhook.config of the configuration file.
struct WebhookSettings {
  std::map<std::string, std::string> annotations = {};  // of each MutatingWebhookConfiguration
  WebhookClientConfig client_config = {};
  ring::LabelSelector namespace_selector = default_namespace_selector();
  // The caBundle of `client_config` counts for nothing, it comes through Controller::set_ca_bundle(), and is taken back
  // from other managers like every other field. Until it has come, no webhook configuration is applied: that would take
  // a caBundle away that works.
  bool ca_bundle_is_ours = false;
  bool operator==(const WebhookSettings&) const = default;
};

struct ControllerOptions {
  WebhookSettings webhook = {};
  std::chrono::nanoseconds sync_period = std::chrono::minutes(5);  // controller.sharder.syncPeriod
};

}  // namespace sharder::controllerring
