#include "controllerring/reachability.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "base/base64.h"
#include "controllerring/webhook_configuration.h"

using namespace sharder;
using namespace sharder::controllerring;
using nlohmann::json;

namespace {

std::string configuration(const json& client_config, const std::string& name = std::string(kWebhookName)) {
  return json({{"webhooks",
                {{{"name", "another.example.com"}, {"clientConfig", {{"url", "https://x"}}}},
                 {{"name", name}, {"clientConfig", client_config}}}}})
      .dump();
}

json service(const std::string& ca_bundle) {
  json config = {{"service", {{"namespace", "sharding-system"}, {"name", "sharder"}, {"path", "/x"}, {"port", 443}}}};
  if (!ca_bundle.empty()) {
    config["caBundle"] = encode_base64(ca_bundle);
  }
  return config;
}

std::optional<Condition> trusted(const std::string& /*roots*/, const std::string& /*host*/) {
  return std::nullopt;
}

}  // namespace

TEST_CASE("a configuration says by which name the API server calls the webhook, and what it trusts (protocol, 5)") {
  CHECK(webhook_call(configuration(service("PEM"))) ==
        WebhookCall{.host = "sharder.sharding-system.svc", .ca_bundle_pem = "PEM"});
  CHECK(webhook_call(configuration({{"url", "https://[fd00::1]:9443/webhooks"}, {"caBundle", "UEVN"}})) ==
        WebhookCall{.host = "fd00::1", .by_url = true, .ca_bundle_pem = "PEM"});
  CHECK(webhook_call(configuration({{"url", "https://sharder.example.com/x"}}))->host == "sharder.example.com");
  CHECK_FALSE(webhook_call(configuration(service("PEM"), "other")));
  CHECK_FALSE(webhook_call(R"({"webhooks":[]})"));
  CHECK_FALSE(webhook_call("nonsense"));
  CHECK_FALSE(webhook_call(""));
}

TEST_CASE("True, False and Unknown, each with reason and message (protocol, 5)") {
  const auto judged = [](const json& client_config, const TrustCheck& check = trusted) {
    return webhook_reachable("r", webhook_call(configuration(client_config)), check);
  };
  CHECK(judged(service("PEM")) ==
        Condition{.status = "True",
                  .reason = "CertificateTrusted",
                  .message = "The caBundle of webhook configuration controllerring-r trusts the webhook's certificate "
                             "for sharder.sharding-system.svc"});
  for (const std::string& empty : {std::string(), std::string("\n")}) {
    const Condition no_bundle = judged(service(empty));
    CHECK(no_bundle.status == "False");
    CHECK(no_bundle.reason == "NoCABundle");
    CHECK(no_bundle.message.starts_with("Webhook configuration controllerring-r has no caBundle"));
  }
  const Condition by_url = judged({{"url", "https://sharder.example.com"}});
  CHECK(by_url.status == "Unknown");
  CHECK(by_url.reason == "NoCABundle");
  const Condition missing = webhook_reachable("r", std::nullopt, trusted);
  CHECK(missing.status == "Unknown");
  CHECK(missing.reason == "NoWebhookConfiguration");

  std::string asked;
  const TrustCheck distrusted = [&](const std::string& roots, const std::string& host) {
    asked = roots + " " + host;
    return Condition{.status = "False", .reason = "Why", .message = "the caBundle is wrong"};
  };
  CHECK(judged(service("PEM"), distrusted) ==
        Condition{.status = "False",
                  .reason = "Why",
                  .message = "Webhook configuration controllerring-r: the caBundle is wrong"});
  CHECK(asked == "PEM sharder.sharding-system.svc");
  CHECK(judged({{"url", "https://sharder.example.com"}}, distrusted).status == "False");  // names and times
  CHECK(asked == " sharder.example.com");
}
