#pragma once

#include <optional>
#include <string>

#include "certs/authority.h"
#include "certs/certificate_files.h"
#include "certs/certificate_secret.h"
#include "certs/webhook_trust.h"
#include "controllerring/controller_options.h"
#include "controllerring/status.h"
#include "kube/election/leader_election.h"
#include "sharder/config.h"

// What the parts of the program are given: the configuration in their own terms. Pure.
namespace sharder::app {

kube::LeaderElectionOptions election_options(const LeaderElectionConfig& config, const std::string& identity);

// The files of the webhook's certificate.
certs::CertificateFilesOptions webhook_certificate(const WebhookServerConfig& config);
// The Secret of the webhook's certificate, in the namespace of the leader election's Lease.
certs::CertificateSecretOptions secret_options(const Config& config);
// The names by which API servers reach the webhook.
certs::ServerCertificate webhook_names(const controllerring::WebhookClientConfig& config);

// The condition WebhookReachable for what is wrong with the certificate; nullopt: nothing is.
std::optional<controllerring::Condition> not_reachable(std::optional<certs::Distrust> distrust);

}  // namespace sharder::app
