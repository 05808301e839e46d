#include "sharder/config.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "base/read_file.h"
#include "http/listen_address.h"
#include "kube/codec/yaml.h"
#include "ops/loopback.h"
#include "sharder/config_sections_internal.h"
#include "sharder/values.h"
#include "sharder/yaml_reader_internal.h"

namespace sharder::app {
namespace {

constexpr std::string_view kApiVersion = "config.sharding.timebertt.dev/v1alpha1";
constexpr std::string_view kKind = "SharderConfig";

void require_text(ObjectReader& object, std::string_view name, std::string_view wanted) {
  std::string given;
  if (object.field(name, given) ? given != wanted : !object.has(name)) {
    object.mistake(name, "want " + std::string(wanted) + (given.empty() ? "" : ", got \"" + given + "\""));
  }
}

void at_least(ObjectReader& object, std::string_view name, std::chrono::nanoseconds value,
              std::chrono::nanoseconds minimum, std::string_view wanted) {
  if (value < minimum) {
    object.mistake(name, "want " + std::string(wanted));
  }
}

// "0" turns the port off.
void read_optional_bind_address(ObjectReader& object, std::optional<std::string>& address) {
  std::string given = *address;
  object.text("bindAddress", given);
  if (given == "0") {
    address.reset();
  } else {
    check_bind_address(object, given);
    address = std::move(given);
  }
}

// Whoever reaches the page may read it. So only this machine does.
void read_status(ObjectReader& object, Config& config) {
  std::string given = "0";
  object.text("bindAddress", given);
  if (given == "0") {
    return;
  }
  const auto address = http::parse_listen_address(given);
  if (!address) {
    object.mistake("bindAddress", address.error().message);
  } else if (!ops::is_loopback_address(address->host)) {
    object.mistake("bindAddress",
                   "want an address of the loopback interface, 127.0.0.1:8082 or [::1]:8082, got \"" + given + "\"");
  }
  config.status_bind_address = std::move(given);
}

void read_client_connection(ObjectReader& object, ClientConnectionConfig& config) {
  // Accepted because the Go program's files may have them; without effect (protocol, 7).
  std::string ignored;
  object.field("kubeconfig", ignored);
  object.field("acceptContentTypes", ignored);
  object.field("contentType", ignored);
  object.field("qps", config.qps);
  object.field("burst", config.burst);
  if (config.burst < 0) {
    object.mistake("burst", "want a number >= 0");
  }
  if (config.qps > 0 && config.burst == 0) {
    config.burst = 10;
  }
}

// client-go's rules. Without them a leader could notice too late that it has lost the leadership.
void check_leader_election(ObjectReader& object, const LeaderElectionConfig& config) {
  at_least(object, "leaseDuration", config.lease_duration, std::chrono::seconds(1), "a duration of at least 1s");
  at_least(object, "retryPeriod", config.retry_period, std::chrono::milliseconds(1), "a duration greater than zero");
  if (config.lease_duration <= config.renew_deadline) {
    object.mistake("leaseDuration", "must be greater than renewDeadline");
  }
  if (std::chrono::duration<double>(config.renew_deadline) <=
      1.2 * std::chrono::duration<double>(config.retry_period)) {
    object.mistake("renewDeadline", "must be greater than 1.2 times retryPeriod");
  }
  check_object_name(object, "resourceName", config.resource_name, is_dns_subdomain);
}

void read_leader_election(ObjectReader& object, std::optional<bool> enabled, LeaderElectionConfig& config) {
  std::string lock = "leases";
  object.field("leaderElect", config.enabled);
  config.enabled = enabled.value_or(config.enabled);
  object.text("resourceLock", lock);
  object.text("resourceNamespace", config.resource_namespace);
  object.text("resourceName", config.resource_name);
  object.field("leaseDuration", config.lease_duration);
  object.field("renewDeadline", config.renew_deadline);
  object.field("retryPeriod", config.retry_period);
  if (lock != "leases") {
    object.mistake("resourceLock", "want leases, got \"" + lock + "\"");
  }
  check_object_name(object, "resourceNamespace", config.resource_namespace, is_dns_label);  // Secrets lie there too
  if (config.enabled) {
    check_leader_election(object, config);
  }
}

void read_controller(ObjectReader& object, Config& config) {
  object.object("sharder", [&](ObjectReader& sharder) {
    sharder.field("syncPeriod", config.sync_period);
    at_least(sharder, "syncPeriod", config.sync_period, std::chrono::nanoseconds(1), "a duration greater than zero");
    sharder.field("concurrentMoves", config.concurrent_moves);
    if (config.concurrent_moves < 1) {
      sharder.mistake("concurrentMoves", "want a number >= 1");
    }
  });
}

void read_shutdown(ObjectReader& object, Config& config) {
  std::chrono::nanoseconds graceful = *config.graceful_shutdown;
  object.field("gracefulShutDown", graceful);
  config.graceful_shutdown = graceful < graceful.zero() ? std::nullopt : std::optional(graceful);
  object.field("shutdownDelay", config.shutdown_delay);
  at_least(object, "shutdownDelay", config.shutdown_delay, std::chrono::nanoseconds(0), "a duration >= 0");
}

// `leader_elect`: the value of the environment variable, if it is set.
Config read_config(const nlohmann::json& document, std::optional<bool> leader_elect, Mistakes& mistakes) {
  Config config;
  config.leader_election.enabled = leader_elect.value_or(config.leader_election.enabled);
  ObjectReader object(document, "", mistakes);
  require_text(object, "apiVersion", kApiVersion);
  require_text(object, "kind", kKind);
  object.object("clientConnection", [&](ObjectReader& o) { read_client_connection(o, config.client_connection); });
  object.object("leaderElection",
                [&](ObjectReader& o) { read_leader_election(o, leader_elect, config.leader_election); });
  object.object("health", [&](ObjectReader& o) { read_optional_bind_address(o, config.health_bind_address); });
  object.object("metrics", [&](ObjectReader& o) { read_optional_bind_address(o, config.metrics_bind_address); });
  object.object("status", [&](ObjectReader& o) { read_status(o, config); });
  object.object("controller", [&](ObjectReader& o) { read_controller(o, config); });
  object.object("webhook", [&](ObjectReader& o) { read_webhook(o, config.webhook_server, config.webhook); });
  object.object("debugging", [](ObjectReader& o) {
    bool ignored = false;  // Go's profiles (protocol, 9)
    o.field("enableProfiling", ignored);
    o.field("enableContentionProfiling", ignored);
  });
  read_shutdown(object, config);
  object.finish();
  return config;
}

// The one document of the text.
Result<kube::YamlDocument> parse_document(std::string_view text) {
  auto document = kube::parse_yaml(text);
  if (document && document->more) {
    return fail(ErrorCode::kInvalid, "holds more than one document");
  }
  if (document && document->value.is_null()) {
    return fail(ErrorCode::kInvalid, "is empty, want a " + std::string(kKind));
  }
  return document;
}

// nullopt when the environment variable is not set.
Result<std::optional<bool>> parse_leader_elect(const std::optional<std::string>& text) {
  if (!text) {
    return std::nullopt;
  }
  if (const auto enabled = parse_go_bool(*text)) {
    return enabled;
  }
  return fail(ErrorCode::kInvalid, "environment LEADER_ELECT: want true or false, got \"" + *text + "\"");
}

}  // namespace

Result<Config> parse_config(std::string_view text, const std::string& source,
                            const std::optional<std::string>& leader_elect) {
  const auto elect = parse_leader_elect(leader_elect);
  if (!elect) {
    return std::unexpected(elect.error());
  }
  const auto document = parse_document(text);
  if (!document) {
    return fail(source, document.error());
  }
  Mistakes mistakes;
  for (const std::string& path : document->repeated) {
    mistakes.add(path, "given twice");
  }
  Config config = read_config(document->value, *elect, mistakes);
  std::string lines;
  for (const std::string& line : mistakes.lines()) {
    lines += lines.empty() ? "" : "\n";
    lines.append(source).append(": ").append(line);
  }
  if (!lines.empty()) {
    return fail(ErrorCode::kInvalid, std::move(lines));
  }
  return config;
}

Result<Config> load_config(const std::string& file, const std::optional<std::string>& leader_elect) {
  if (!file.empty()) {
    const auto text = read_file(file);
    return text ? parse_config(*text, file, leader_elect) : std::unexpected(text.error());
  }
  const auto elect = parse_leader_elect(leader_elect);
  if (!elect) {
    return std::unexpected(elect.error());
  }
  Config config;
  config.leader_election.enabled = elect->value_or(config.leader_election.enabled);
  return config;
}

}  // namespace sharder::app
