#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "controllerring/controller_options.h"

namespace sharder::app {

// The values below are the defaults. They apply to every field that is omitted in the file (protocol, 7 and 10).

struct ClientConnectionConfig {
  double qps = 0;  // <= 0: no limit on our side
  int burst = 0;   // 10 when qps is set and burst is not, as in client-go
};

struct LeaderElectionConfig {
  bool enabled = true;
  std::string resource_namespace = "sharding-system";
  std::string resource_name = "sharder";
  std::chrono::nanoseconds lease_duration = std::chrono::seconds(15);
  std::chrono::nanoseconds renew_deadline = std::chrono::seconds(10);
  std::chrono::nanoseconds retry_period = std::chrono::seconds(2);
};

// Where the webhook's serving certificate comes from (decision 8).
enum class CertificateSource { kFiles, kSecret, kSelfManaged };

struct WebhookServerConfig {
  std::string bind_address = ":9443";
  std::string cert_dir = "/tmp/k8s-webhook-server/serving-certs";
  std::string cert_name = "tls.crt";
  std::string key_name = "tls.key";
  std::string client_ca_file = {};  // "": clients show no certificate
  CertificateSource certificates = CertificateSource::kFiles;
  // In the namespace of the leader election's Lease. With kSelfManaged the default is "sharder-webhook-server".
  std::string secret_name = "webhook-server";
};

// SharderConfig (config.sharding.timebertt.dev/v1alpha1): a plain value, checked.
struct Config {
  ClientConnectionConfig client_connection;
  LeaderElectionConfig leader_election;
  std::optional<std::string> health_bind_address = ":8081";   // nullopt: "0" in the file, turned off
  std::optional<std::string> metrics_bind_address = ":8080";  // nullopt: "0" in the file, turned off
  std::chrono::nanoseconds sync_period = std::chrono::minutes(5);
  std::int32_t concurrent_moves = 100;
  std::optional<std::string> status_bind_address = {};  // an address of the loopback interface; nullopt: none
  WebhookServerConfig webhook_server;
  controllerring::WebhookSettings webhook;
  std::optional<std::chrono::nanoseconds> graceful_shutdown = std::chrono::seconds(15);  // nullopt: no limit
  std::chrono::nanoseconds shutdown_delay = std::chrono::seconds(5);
};

// Reads one SharderConfig, YAML or JSON. `source` is its name in messages: the file's name. `leader_elect` is the
// environment's LEADER_ELECT, which overrides the file in both directions; nullopt when it is not set.
//
// Strict: apiVersion and kind must be there and right; a field that is unknown, given twice, of a wrong type or out of
// range is an error. kInvalid has one line for each error, all at once:
//   sharder.yaml: controller.sharder.syncPeriodd: unknown field, did you mean syncPeriod?
//   sharder.yaml: shutdownDelay: want a duration like 5m, got "abc"
[[nodiscard]] Result<Config> parse_config(std::string_view text, const std::string& source,
                                          const std::optional<std::string>& leader_elect);

// The same for a file; "" gives all defaults.
[[nodiscard]] Result<Config> load_config(const std::string& file, const std::optional<std::string>& leader_elect);

}  // namespace sharder::app
