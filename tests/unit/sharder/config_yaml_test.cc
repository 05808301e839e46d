#include <doctest/doctest.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "base/go_duration.h"
#include "sharder/config.h"
#include "tests/support/titled_texts.h"

// What the Go sharder's decoder makes of the same SharderConfigs: tests/testdata/yaml.
namespace {

using namespace sharder;
using namespace sharder::app;
using nlohmann::json;

const std::string kHead = "apiVersion: config.sharding.timebertt.dev/v1alpha1\nkind: SharderConfig\n";

json seconds(std::chrono::nanoseconds duration) {
  return std::chrono::duration<double>(duration).count();
}

json to_json(const ring::LabelSelector& selector) {
  json expressions = json::array();
  for (const ring::SelectorRequirement& requirement : selector.match_expressions) {
    const bool in = requirement.op == ring::SelectorOperator::kIn;
    expressions.push_back(
        {{"key", requirement.key}, {"operator", in ? "In" : "NotIn"}, {"values", requirement.values}});
  }
  return {{"matchLabels", selector.match_labels}, {"matchExpressions", expressions}};
}

// What a file can say, under the names that it has there.
json to_json(const Config& config) {
  const controllerring::WebhookService& service = config.webhook.client_config.service;
  return {{"/clientConnection/qps", config.client_connection.qps},
          {"/clientConnection/burst", config.client_connection.burst},
          {"/leaderElection/leaderElect", config.leader_election.enabled},
          {"/leaderElection/leaseDuration", seconds(config.leader_election.lease_duration)},
          {"/leaderElection/renewDeadline", seconds(config.leader_election.renew_deadline)},
          {"/leaderElection/retryPeriod", seconds(config.leader_election.retry_period)},
          {"/health/bindAddress", config.health_bind_address.value_or("0")},
          {"/metrics/bindAddress", config.metrics_bind_address.value_or("0")},
          {"/gracefulShutDown", seconds(config.graceful_shutdown.value_or(std::chrono::seconds(-1)))},
          {"/shutdownDelay", seconds(config.shutdown_delay)},
          {"/controller/sharder/syncPeriod", seconds(config.sync_period)},
          {"/controller/sharder/concurrentMoves", config.concurrent_moves},
          {"/webhook/server/certDir", config.webhook_server.cert_dir},
          {"/webhook/server/certName", config.webhook_server.cert_name},
          {"/webhook/server/keyName", config.webhook_server.key_name},
          {"/webhook/config/annotations", config.webhook.annotations},
          {"/webhook/config/clientConfig/url", config.webhook.client_config.url},
          {"/webhook/config/clientConfig/service/namespace", service.service_namespace},
          {"/webhook/config/clientConfig/service/name", service.name},
          {"/webhook/config/clientConfig/service/path", service.path},
          {"/webhook/config/clientConfig/service/port", service.port.value_or(0)},
          {"/webhook/config/namespaceSelector", to_json(config.webhook.namespace_selector)}};
}

// What Go left at its zero value means the default, here as there; those that are pointers in Go are not there.
bool is_zero(const std::string& field, const json& value) {
  return value.is_null() || value == json(0) || value == json("") || value == json(json::object()) ||
         (value == json("0s") && field.starts_with("/leaderElection/"));
}

json expected(const json& theirs) {
  json fields = to_json(Config());
  for (const auto& field : fields.items()) {
    const json::json_pointer place(field.key());
    if (!theirs.contains(place)) {
      continue;
    }
    const json& value = theirs.at(place);
    if (field.key().ends_with("namespaceSelector")) {
      field.value() = {{"matchLabels", value.value("matchLabels", json::object())},
                       {"matchExpressions", value.value("matchExpressions", json::array())}};
    } else if (!is_zero(field.key(), value)) {
      const bool duration = field.value().is_number() && value.is_string();
      field.value() = duration ? seconds(parse_go_duration(value.get<std::string>()).value()) : value;
    }
  }
  return fields;
}

TEST_CASE("a SharderConfig means what it means to the Go sharder's decoder") {
  const json answers = json::parse(testing::testdata("yaml/sharderconfig.json"));
  const auto cases = testing::titled_texts("yaml/sharderconfig.txt");
  REQUIRE(cases.size() > 80);
  REQUIRE(cases.size() == answers.size());
  for (const auto& [title, ours, text] : cases) {
    CAPTURE(title);
    const bool whole = text.find("apiVersion") != std::string::npos;
    const auto config = parse_config(whole ? text : kHead + text, "x", std::nullopt);
    const bool go_reads = answers.at(title).contains("value");
    CHECK(config.has_value() == (ours.empty() ? go_reads : ours == "reads"));
    CHECK((ours.empty() || config.has_value() != go_reads));
    if (config && go_reads) {
      CHECK(to_json(*config) == expected(answers.at(title).at("value")));
    }
  }
}

}  // namespace
