#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "kube/client/request.h"

// What the API server shows of the objects that the serving certificate lies in (decision 8). No error here quotes what
// it was made from.
namespace sharder::certs {

// The Secret: tls.crt, tls.key and ca.crt as cert-manager writes them, and ca.key, the key of the first certificate of
// ca.crt, in the mode selfManaged. All PEM; what is absent is "".
struct ServingSecret {
  std::string resource_version = {};  // "": the Secret does not exist
  std::string certificate_pem = {};
  std::string private_key_pem = {};
  std::string roots_pem = {};
  std::string root_key_pem = {};
  bool operator==(const ServingSecret&) const = default;
};

// kInvalid: it is no Secret, or a value is not base64; the message names its key.
[[nodiscard]] Result<ServingSecret> decode_serving_secret(std::string_view object);

// The body of a request that creates the Secret.
[[nodiscard]] std::string new_secret(std::string_view name, const ServingSecret& secret);
// The body of a merge patch that gives the Secret these values; its resourceVersion is the precondition.
[[nodiscard]] std::string secret_patch(const ServingSecret& secret);

// The request whose answer ca_bundles() reads. `selector`: label selector of our webhook configurations.
[[nodiscard]] kube::Request list_webhook_configurations(std::string_view selector);
// The caBundles (PEM) in a list of MutatingWebhookConfigurations. A webhook without one is left out: the API server
// then uses the roots of its machine, and a certificate of ours cannot work there. kInvalid: it is no list, or a bundle
// is not base64.
[[nodiscard]] Result<std::vector<std::string>> ca_bundles(std::string_view list);

}  // namespace sharder::certs
