#include "certs/serving_secret.h"

#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/base64.h"
#include "kube/client/resource.h"
#include "kube/codec/json.h"

namespace sharder::certs {

using nlohmann::json;

namespace {

constexpr std::array kValues = {
    std::pair("tls.crt", &ServingSecret::certificate_pem), std::pair("tls.key", &ServingSecret::private_key_pem),
    std::pair("ca.crt", &ServingSecret::roots_pem), std::pair("ca.key", &ServingSecret::root_key_pem)};

json data_of(const ServingSecret& secret) {
  json data = json::object();
  for (const auto& [key, value] : kValues) {
    if (!(secret.*value).empty()) {
      data[key] = encode_base64(secret.*value);
    }
  }
  return data;
}

}  // namespace

Result<ServingSecret> decode_serving_secret(std::string_view object) {
  const auto parsed = kube::parse_json(object);
  if (!parsed) {
    return fail("Secret", parsed.error());
  }
  ServingSecret secret{.resource_version = kube::string_at(*parsed, "/metadata/resourceVersion")};
  if (secret.resource_version.empty()) {
    return fail(ErrorCode::kInvalid, "the Secret has no resourceVersion");
  }
  const json& data = kube::field_of(*parsed, "data");
  for (const auto& [key, value] : kValues) {
    auto decoded = decode_base64(kube::string_of(kube::field_of(data, key)));
    if (!decoded) {
      return fail(key, std::move(decoded.error()));
    }
    secret.*value = std::move(*decoded);
  }
  return secret;
}

std::string new_secret(std::string_view name, const ServingSecret& secret) {
  return json{{"apiVersion", "v1"},
              {"kind", "Secret"},
              {"type", "kubernetes.io/tls"},
              {"metadata", {{"name", name}, {"labels", {{"app.kubernetes.io/name", "controller-sharding"}}}}},
              {"data", data_of(secret)}}
      .dump();
}

std::string secret_patch(const ServingSecret& secret) {
  return json{{"metadata", {{"resourceVersion", secret.resource_version}}}, {"data", data_of(secret)}}.dump();
}

kube::Request list_webhook_configurations(std::string_view selector) {
  return {.target = kube::path(kube::kMutatingWebhookConfigurations, "", {}, {}, {{"labelSelector", selector}}),
          .lane = kube::Lane::kList};
}

Result<std::vector<std::string>> ca_bundles(std::string_view list) {
  const auto parsed = kube::parse_json(list);
  if (!parsed) {
    return fail("list of webhook configurations", parsed.error());
  }
  std::vector<std::string> found;
  for (const json& item : kube::elements_of(kube::field_of(*parsed, "items"))) {
    for (const json& webhook : kube::elements_of(kube::field_of(item, "webhooks"))) {
      auto bundle = decode_base64(kube::string_at(webhook, "/clientConfig/caBundle"));
      if (!bundle) {
        return fail("caBundle", std::move(bundle.error()));
      }
      if (!bundle->empty()) {
        found.push_back(std::move(*bundle));
      }
    }
  }
  return found;
}

}  // namespace sharder::certs
