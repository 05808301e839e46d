#include "sharder/part_options.h"

#include <chrono>
#include <utility>

#include "kube/access/server_url.h"
#include "ring/names.h"
#include "sharder/values.h"

namespace sharder::app {

using std::chrono::duration_cast;
using std::chrono::milliseconds;

kube::LeaderElectionOptions election_options(const LeaderElectionConfig& config, const std::string& identity) {
  return {
      .lease_namespace = config.resource_namespace,
      .lease_name = config.resource_name,
      .identity = identity,
      .lease_duration = duration_cast<milliseconds>(config.lease_duration),
      .renew_deadline = duration_cast<milliseconds>(config.renew_deadline),
      .retry_period = duration_cast<milliseconds>(config.retry_period),
  };
}

certs::CertificateFilesOptions webhook_certificate(const WebhookServerConfig& config) {
  return {.server = "webhook",
          .folder = config.cert_dir,
          .certificate_name = config.cert_name,
          .key_name = config.key_name};
}

certs::CertificateSecretOptions secret_options(const Config& config) {
  return {.secret_namespace = config.leader_election.resource_namespace,
          .name = config.webhook_server.secret_name,
          .webhook_selector =
              "app.kubernetes.io/name=" + std::string(ring::kAppName) + "," + std::string(ring::kRingLabel)};
}

certs::ServerCertificate webhook_names(const controllerring::WebhookClientConfig& config) {
  certs::ServerCertificate wanted{.common_name = "sharder webhook"};
  if (config.url.empty()) {
    const std::string name = config.service.name + "." + config.service.service_namespace;
    wanted.dns_names = {name + ".svc", name + ".svc.cluster.local", name};
  } else if (const auto url = kube::parse_server_url(config.url)) {
    if (const auto address = normal_ip_address(url->host)) {
      wanted.ip_addresses = {*address};
    } else {
      wanted.dns_names = {url->host};
    }
  }
  return wanted;
}

std::optional<controllerring::Condition> not_reachable(std::optional<certs::Distrust> distrust) {
  if (!distrust) {
    return std::nullopt;
  }
  return controllerring::Condition{
      .status = "False", .reason = std::move(distrust->reason), .message = std::move(distrust->message)};
}

}  // namespace sharder::app
