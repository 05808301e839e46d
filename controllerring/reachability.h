#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "controllerring/status.h"

// Whether the API server accepts the certificate that this replica shows (protocol, 5: WebhookReachable). Pure.
namespace sharder::controllerring {

// How the API server calls a ring's webhook, as the configuration in the cluster says.
struct WebhookCall {
  std::string host;           // the name or address that the certificate must be for
  bool by_url = false;        // by clientConfig.url, else by clientConfig.service
  std::string ca_bundle_pem;  // decoded; "": there is none
  bool operator==(const WebhookCall&) const = default;
};

// nullopt: our webhook is not in the configuration (JSON).
std::optional<WebhookCall> webhook_call(std::string_view configuration);

// Whether a client that trusts only `roots_pem` and calls `host` accepts the certificate that this replica shows now.
// nullopt: it does. Empty roots: names and times alone are judged. Else the condition's status (False, or Unknown when
// no certificate is shown), reason and message; the message is a clause about the certificate or the caBundle.
using TrustCheck = std::function<std::optional<Condition>(const std::string& roots_pem, const std::string& host)>;

// The condition WebhookReachable of a ring. `call`: nullopt when the configuration does not exist.
Condition webhook_reachable(const std::string& ring, const std::optional<WebhookCall>& call, const TrustCheck& check);

}  // namespace sharder::controllerring
