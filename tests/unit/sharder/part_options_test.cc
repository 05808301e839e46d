#include "sharder/part_options.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

// What the parts of the program are given.
namespace {

using namespace sharder;
using namespace sharder::app;
using namespace std::chrono_literals;
using Names = std::vector<std::string>;

TEST_CASE("the leader election has the Lease, the identity and the times of the configuration") {
  LeaderElectionConfig config;
  config.resource_namespace = "system";
  config.resource_name = "mine";
  config.renew_deadline = 1500ms;
  const auto options = election_options(config, "pod_1");
  CHECK(options.lease_namespace == "system");
  CHECK(options.lease_name == "mine");
  CHECK(options.identity == "pod_1");
  CHECK(options.lease_duration == 15s);
  CHECK(options.renew_deadline == 1500ms);
  CHECK(options.retry_period == 2s);
}

TEST_CASE("the certificate's files and Secret are those of the configuration") {
  Config config;
  config.webhook_server.cert_dir = "/certs";
  config.webhook_server.cert_name = "cert.pem";
  config.webhook_server.key_name = "key.pem";
  config.webhook_server.secret_name = "serving";
  config.leader_election.resource_namespace = "system";
  const auto files = webhook_certificate(config.webhook_server);
  CHECK(files.server == "webhook");
  CHECK(files.folder == "/certs");
  CHECK(files.certificate_name == "cert.pem");
  CHECK(files.key_name == "key.pem");
  const auto secret = secret_options(config);
  CHECK(secret.secret_namespace == "system");
  CHECK(secret.name == "serving");
  CHECK(secret.webhook_selector ==
        "app.kubernetes.io/name=controller-sharding,alpha.sharding.timebertt.dev/controllerring");
}

TEST_CASE("a certificate of our own is for the Service, or for the host of the url") {
  controllerring::WebhookClientConfig config;
  config.service.name = "hook";
  config.service.service_namespace = "system";
  CHECK(webhook_names(config).dns_names == Names{"hook.system.svc", "hook.system.svc.cluster.local", "hook.system"});
  CHECK(webhook_names(config).ip_addresses.empty());

  config.url = "https://hook.example.com:8443/x";
  CHECK(webhook_names(config).dns_names == Names{"hook.example.com"});
  config.url = "https://[2001:db8:0::1]/";
  CHECK(webhook_names(config).dns_names.empty());
  CHECK(webhook_names(config).ip_addresses == Names{"2001:db8::1"});
}

TEST_CASE("what is wrong with the certificate is a condition that is False") {
  CHECK_FALSE(not_reachable(std::nullopt));
  const auto condition = not_reachable(certs::Distrust{.reason = "NameNotCovered", .message = "do something"});
  REQUIRE(condition);
  CHECK(condition->status == "False");
  CHECK(condition->reason == "NameNotCovered");
  CHECK(condition->message == "do something");
}

}  // namespace
