#include "controllerring/reachability.h"

#include <nlohmann/json.hpp>

#include "base/base64.h"
#include "controllerring/webhook_configuration.h"
#include "kube/access/server_url.h"
#include "kube/codec/json.h"

namespace sharder::controllerring {

using kube::field_of;
using nlohmann::json;

std::optional<WebhookCall> webhook_call(std::string_view configuration) {
  const auto object = kube::parse_json(configuration);
  if (!object) {
    return std::nullopt;
  }
  for (const json& webhook : kube::elements_of(field_of(*object, "webhooks"))) {
    if (kube::string_at(webhook, "/name") != kWebhookName) {
      continue;
    }
    const json& client = field_of(webhook, "clientConfig");
    WebhookCall call{
        .host = kube::string_at(client, "/service/name") + "." + kube::string_at(client, "/service/namespace") + ".svc",
        .ca_bundle_pem = decode_base64(kube::string_at(client, "/caBundle")).value_or("")};
    if (const std::string url = kube::string_at(client, "/url"); !url.empty()) {
      const auto server = kube::parse_server_url(url);
      call.host = server ? server->host : url;
      call.by_url = true;
    }
    return call;
  }
  return std::nullopt;
}

Condition webhook_reachable(const std::string& ring, const std::optional<WebhookCall>& call, const TrustCheck& check) {
  const std::string configuration = "webhook configuration " + webhook_configuration_name(ring);
  if (!call) {
    return {.status = "Unknown",
            .reason = "NoWebhookConfiguration",
            .message = "There is no " + configuration + ", the condition Ready says why"};
  }
  const bool has_roots = call->ca_bundle_pem.find_first_not_of(" \t\r\n") != std::string::npos;
  if (auto problem = check(has_roots ? call->ca_bundle_pem : "", call->host)) {
    problem->message = capitalised(configuration) + ": " + problem->message;
    return *std::move(problem);
  }
  if (!has_roots && call->by_url) {
    return {
        .status = "Unknown",
        .reason = "NoCABundle",
        .message = capitalised(configuration) +
                   " has a url and no caBundle: the API server trusts the roots of its machine, which only it knows"};
  }
  if (!has_roots) {
    return {
        .status = "False",
        .reason = "NoCABundle",
        .message = capitalised(configuration) +
                   " has no caBundle: nothing injects it, or it was removed; set webhook.config.clientConfig.caBundle "
                   "to the CA of the webhook's certificate, or let cert-manager inject it"};
  }
  return {.status = "True",
          .reason = "CertificateTrusted",
          .message = "The caBundle of " + configuration + " trusts the webhook's certificate for " + call->host};
}

}  // namespace sharder::controllerring
