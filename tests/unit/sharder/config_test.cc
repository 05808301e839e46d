#include "sharder/config.h"

#include <doctest/doctest.h>

#include "base/base64.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_certificate.h"

// protocol, 7 and 10: SharderConfig.
namespace {

using namespace sharder;
using namespace sharder::app;
using namespace std::chrono_literals;
using ring::SelectorOperator;

const std::string kHead = "apiVersion: config.sharding.timebertt.dev/v1alpha1\nkind: SharderConfig\n";

Config good(const std::string& body, const std::optional<std::string>& leader_elect = std::nullopt) {
  auto config = parse_config(kHead + body, "sharder.yaml", leader_elect);
  INFO(body);
  if (!config) {
    INFO(config.error().message);
  }
  REQUIRE(config);
  return std::move(*config);
}

std::string mistake(const std::string& body) {
  const auto config = parse_config(kHead + body, "sharder.yaml", std::nullopt);
  CAPTURE(body);
  REQUIRE_FALSE(config);
  CHECK(config.error().code == ErrorCode::kInvalid);
  return config.error().message;
}

void check_defaults(const Config& config) {
  CHECK(config.client_connection.qps == 0);
  CHECK(config.client_connection.burst == 0);
  CHECK(config.leader_election.enabled);
  CHECK(config.leader_election.resource_namespace == "sharding-system");
  CHECK(config.leader_election.resource_name == "sharder");
  CHECK(config.leader_election.lease_duration == 15s);
  CHECK(config.leader_election.renew_deadline == 10s);
  CHECK(config.leader_election.retry_period == 2s);
  CHECK(config.health_bind_address == ":8081");
  CHECK(config.metrics_bind_address == ":8080");
  CHECK(config.sync_period == 5min);
  CHECK(config.concurrent_moves == 100);
  CHECK(config.webhook_server.bind_address == ":9443");
  CHECK(config.webhook_server.cert_dir == "/tmp/k8s-webhook-server/serving-certs");
  CHECK(config.webhook_server.cert_name == "tls.crt");
  CHECK(config.webhook_server.key_name == "tls.key");
  CHECK(config.webhook == controllerring::WebhookSettings{});
  CHECK(config.graceful_shutdown == 15s);
  CHECK(config.shutdown_delay == 5s);
}

TEST_CASE("without a file, and with one that says nothing, all is as the protocol's defaults") {
  const auto config = load_config("", std::nullopt);
  REQUIRE(config);
  check_defaults(*config);
  check_defaults(good(""));
}

TEST_CASE("the file that the Go sharder ran with is understood") {
  const auto config = load_config(SHARDER_TESTDATA "/fixtures/sharder-config.yaml", std::nullopt);
  REQUIRE(config);
  CHECK(config->client_connection.qps == 2000);
  CHECK(config->client_connection.burst == 3000);
  CHECK(config->metrics_bind_address == std::nullopt);
  CHECK(config->health_bind_address == "127.0.0.1:8081");
  CHECK(config->webhook.client_config.url == "https://127.0.0.1:9443");
  CHECK(config->webhook.client_config.ca_bundle.empty());  // "Cg==" says that somebody else injects it
}

TEST_CASE("each field is read") {
  const sharder::testing::TestCa ca;
  const std::string bundle = encode_base64(ca.certificate_pem());
  const Config config = good(R"(
clientConnection:
  kubeconfig: /ignored
  acceptContentTypes: application/json
  contentType: application/json
  qps: 12.5
  burst: 7
leaderElection:
  leaderElect: false
  resourceLock: leases
  resourceNamespace: other
  resourceName: name.x
  leaseDuration: 1m
  renewDeadline: 40s
  retryPeriod: 1.5s
health: {bindAddress: "0"}
metrics: {bindAddress: "[::1]:9090"}
controller:
  sharder: {syncPeriod: 90s, concurrentMoves: 5}
webhook:
  certificates: files
  server: {bindAddress: "127.0.0.1:0", certDir: /certs, certName: a.crt, keyName: a.key,
           clientCAFile: /client-ca/ca.crt}
  config:
    annotations: {cert-manager.io/inject-ca-from: sharding-system/webhook-server, quoted: "5"}
    clientConfig:
      service: {namespace: ns, name: svc, path: /a/b, port: 8443}
      caBundle: )" + bundle + R"(
    namespaceSelector:
      matchLabels: {team: a}
      matchExpressions:
      - {key: x/env, operator: In, values: [dev, "1"]}
      - {key: gone, operator: DoesNotExist}
      - {key: here, operator: Exists, values: []}
      - {key: kubernetes.io/metadata.name, operator: NotIn, values: [kube-system]}
debugging: {enableProfiling: false, enableContentionProfiling: true}
gracefulShutDown: 1m
shutdownDelay: 0s
)");
  CHECK(config.client_connection.qps == 12.5);
  CHECK(config.client_connection.burst == 7);
  CHECK_FALSE(config.leader_election.enabled);
  CHECK(config.leader_election.resource_namespace == "other");
  CHECK(config.leader_election.resource_name == "name.x");
  CHECK(config.leader_election.lease_duration == 1min);
  CHECK(config.leader_election.renew_deadline == 40s);
  CHECK(config.leader_election.retry_period == 1500ms);
  CHECK(config.health_bind_address == std::nullopt);
  CHECK(config.metrics_bind_address == "[::1]:9090");
  CHECK(config.sync_period == 90s);
  CHECK(config.concurrent_moves == 5);
  CHECK(config.webhook_server.bind_address == "127.0.0.1:0");
  CHECK(config.webhook_server.cert_dir == "/certs");
  CHECK(config.webhook_server.cert_name == "a.crt");
  CHECK(config.webhook_server.key_name == "a.key");
  CHECK(config.webhook_server.client_ca_file == "/client-ca/ca.crt");
  CHECK(config.webhook.annotations ==
        std::map<std::string, std::string>{{"cert-manager.io/inject-ca-from", "sharding-system/webhook-server"},
                                           {"quoted", "5"}});
  CHECK(config.webhook.client_config.url.empty());
  CHECK(config.webhook.client_config.service ==
        controllerring::WebhookService{.service_namespace = "ns", .name = "svc", .port = 8443, .path = "/a/b"});
  CHECK(config.webhook.client_config.ca_bundle == bundle);
  const ring::LabelSelector& selector = config.webhook.namespace_selector;
  CHECK(selector.match_labels == std::map<std::string, std::string>{{"team", "a"}});
  const std::vector<ring::SelectorRequirement> expected{
      {.key = "x/env", .op = SelectorOperator::kIn, .values = {"dev", "1"}},
      {.key = "gone", .op = SelectorOperator::kDoesNotExist, .values = {}},
      {.key = "here", .op = SelectorOperator::kExists, .values = {}},
      {.key = "kubernetes.io/metadata.name", .op = SelectorOperator::kNotIn, .values = {"kube-system"}}};
  CHECK(selector.match_expressions == expected);
  CHECK(config.graceful_shutdown == 1min);
  CHECK(config.shutdown_delay == 0s);
}

TEST_CASE("a partly given service keeps the other defaults") {
  const Config config = good("webhook: {config: {clientConfig: {service: {name: other}}}}");
  controllerring::WebhookService expected;
  expected.name = "other";
  CHECK(config.webhook.client_config.service == expected);
}

TEST_CASE("an empty namespaceSelector selects everything, an absent one means the default") {
  CHECK(good("webhook: {config: {namespaceSelector: {}}}").webhook.namespace_selector == ring::LabelSelector{});
  CHECK(good("webhook: {config: {namespaceSelector: null}}").webhook.namespace_selector ==
        controllerring::default_namespace_selector());
}

TEST_CASE("null and empty texts leave the defaults") {
  check_defaults(
      good("health:\nmetrics: null\ncontroller: {sharder: {syncPeriod: ~}}\n"
           "webhook: {server: {bindAddress: '', certDir: ''}, config: {clientConfig: null}}\n"
           "leaderElection: {resourceName: '', resourceLock: '', leaseDuration: null}\n"));
}

TEST_CASE("gracefulShutDown: 0 is none, a negative one no limit") {
  CHECK(good("gracefulShutDown: 0s").graceful_shutdown == 0s);
  CHECK(good("gracefulShutDown: 0").graceful_shutdown == 0s);
  CHECK(good("gracefulShutDown: -1s").graceful_shutdown == std::nullopt);
}

TEST_CASE("qps without burst gets client-go's burst") {
  CHECK(good("clientConnection: {qps: 5}").client_connection.burst == 10);
  CHECK(good("clientConnection: {qps: -1}").client_connection.burst == 0);
}

TEST_CASE("truth values are those of YAML 1.1, as Go's parser has them") {
  for (const char* text : {"true", "True", "yes", "on", "ON"}) {
    CHECK(good(std::string("leaderElection: {leaderElect: ") + text + "}").leader_election.enabled);
  }
  for (const char* text : {"false", "no", "off"}) {
    CHECK_FALSE(good(std::string("leaderElection: {leaderElect: ") + text + "}").leader_election.enabled);
  }
}

TEST_CASE("LEADER_ELECT overrides the file either way") {
  CHECK_FALSE(good("", "false").leader_election.enabled);
  CHECK_FALSE(good("leaderElection: {leaderElect: true}", "0").leader_election.enabled);
  CHECK(good("leaderElection: {leaderElect: false}", "T").leader_election.enabled);
  CHECK_FALSE(load_config("", "false")->leader_election.enabled);
  for (const char* value : {"", "yes", "maybe"}) {
    const std::string message = "environment LEADER_ELECT: want true or false, got \"" + std::string(value) + "\"";
    CHECK(load_config("", value).error().message == message);
    CHECK(parse_config(kHead, "sharder.yaml", value).error().message == message);
  }
  // Rules of a leader election count only where there is one.
  good("leaderElection: {leaderElect: true, leaseDuration: 1ns}", "false");
  CHECK_FALSE(parse_config(kHead + "leaderElection: {leaderElect: false, leaseDuration: 1ns}", "x", "true"));
}

TEST_CASE("JSON is read as well") {
  const auto config = parse_config(
      "{\n\t\"apiVersion\": \"config.sharding.timebertt.dev/v1alpha1\",\n\t\"kind\": \"SharderConfig\",\n"
      "\t\"shutdownDelay\": \"7s\", \"controller\":{\"sharder\":{\"concurrentMoves\":3}}\n}\n",
      "sharder.json", std::nullopt);
  REQUIRE(config);
  CHECK(config->shutdown_delay == 7s);
  CHECK(config->concurrent_moves == 3);
}

TEST_CASE("a mistake names the field and what is wrong with it") {
  struct Case {
    const char* body;
    const char* message;
  };
  const Case cases[] = {
      {"controller: {sharder: {syncPeriodd: 5m}}",
       "controller.sharder.syncPeriodd: unknown field, did you mean syncPeriod?"},
      {"xyz: 1", "xyz: unknown field"},
      {"xyz: null", "xyz: unknown field"},
      {"Kind: x", "Kind: unknown field, did you mean kind?"},
      {"shutdownDelay: 5s\nshutdownDelay: 5s", "shutdownDelay: given twice"},
      {"shutdownDelay: abc", "shutdownDelay: want a duration like 5m, got \"abc\""},
      {"shutdownDelay: 5", "shutdownDelay: want a duration like 5m, got the number 5"},
      {"shutdownDelay: [5m]", "shutdownDelay: want a duration like 5m, got a list"},
      {"shutdownDelay: 88000h", "shutdownDelay: is longer than 10 years"},
      {"gracefulShutDown: -2562047h", "gracefulShutDown: is longer than 10 years"},
      {"shutdownDelay: -1s", "shutdownDelay: want a duration >= 0"},
      {"health: :8081", "health: want a mapping, got \":8081\""},
      {"health: {bindAddress: 0}",
       "health.bindAddress: want a string, got the number 0 (a string that looks like something else needs quotes)"},
      {"metrics: {bindAddress: yes}",
       "metrics.bindAddress: want a string, got the truth value true (a string that looks like something else needs "
       "quotes)"},
      {"metrics: {bindAddress: {}}", "metrics.bindAddress: want a string, got a mapping"},
      {"webhook: {server: {certDir: 1.5}}",
       "webhook.server.certDir: want a string, got the number 1.5 (a string that looks like something else needs "
       "quotes)"},
      {"clientConnection: {qps: '20'}", "clientConnection.qps: want a number, got \"20\""},
      {"clientConnection: {qps: fast}", "clientConnection.qps: want a number, got \"fast\""},
      {"clientConnection: {burst: 1.5}", "clientConnection.burst: want a whole number of 32 bits, got the number 1.5"},
      {"clientConnection: {burst: 3000000000}",
       "clientConnection.burst: want a whole number of 32 bits, got the number 3000000000"},
      {"clientConnection: {burst: -1}", "clientConnection.burst: want a number >= 0"},
      {"leaderElection: {leaderElect: 'true'}", "leaderElection.leaderElect: want true or false, got \"true\""},
      {"leaderElection: {leaderElect: 1}", "leaderElection.leaderElect: want true or false, got the number 1"},
      {"leaderElection: {resourceLock: endpoints}", "leaderElection.resourceLock: want leases, got \"endpoints\""},
      {"leaderElection: {leaseDuration: 10s}", "leaderElection.leaseDuration: must be greater than renewDeadline"},
      {"leaderElection: {renewDeadline: 2.4s}",
       "leaderElection.renewDeadline: must be greater than 1.2 times retryPeriod"},
      {"leaderElection: {retryPeriod: 0s}", "leaderElection.retryPeriod: want a duration greater than zero"},
      {"leaderElection: {leaseDuration: 900ms, renewDeadline: 800ms, retryPeriod: 10ms}",
       "leaderElection.leaseDuration: want a duration of at least 1s"},
      {"leaderElection: {resourceName: Sharder}",
       "leaderElection.resourceName: \"Sharder\" is no name that Kubernetes allows there"},
      {"leaderElection: {resourceNamespace: a.b}",
       "leaderElection.resourceNamespace: \"a.b\" is no name that Kubernetes allows there"},
      {"controller: {sharder: {syncPeriod: 0s}}", "controller.sharder.syncPeriod: want a duration greater than zero"},
      {"controller: {sharder: {concurrentMoves: 0}}", "controller.sharder.concurrentMoves: want a number >= 1"},
      {"webhook: {certificates: none}", "webhook.certificates: want files, secret or selfManaged, got \"none\""},
      {"webhook: {secretName: x}", "webhook.secretName: needs certificates: secret or selfManaged"},
      {"webhook: {certificates: secret, secretName: A_B}",
       "webhook.secretName: \"A_B\" is no name that Kubernetes allows there"},
      {"webhook: {certificates: selfManaged, config: {annotations: {cert-manager.io/inject-ca-from: a/b}}}",
       "webhook.config.annotations: cert-manager.io/inject-* excludes certificates: selfManaged"},
      {"webhook: {certificates: selfManaged, config: {clientConfig: {url: 'https://a,b'}}}",
       "webhook.config.clientConfig.url: selfManaged needs a DNS name or an IP address as host"},
      {"webhook: {config: {annotations: {a: true}}}",
       "webhook.config.annotations.a: want a string, got the truth value true (a string that looks like something else "
       "needs quotes)"},
      {"webhook: {config: {annotations: [a]}}", "webhook.config.annotations: want a mapping of strings, got a list"},
      {"webhook: {config: {annotations: {a b: c}}}", "webhook.config.annotations: \"a b\" is no annotation key"},
      {"webhook: {config: {annotations: {a: b, a: c}}}", "webhook.config.annotations.a: given twice"},
      {"webhook: {config: {clientConfig: {caBundle: '%'}}}",
       "webhook.config.clientConfig.caBundle: want PEM certificates in base64"},
      {"webhook: {config: {clientConfig: {caBundle: aGVsbG8=}}}",
       "webhook.config.clientConfig.caBundle: holds no PEM certificate"},
      {"webhook: {config: {clientConfig: {url: 'http://a'}}}",
       "webhook.config.clientConfig.url: want https://host[:port][/path] without user, query and fragment, got "
       "\"http://a\""},
      {"webhook: {config: {clientConfig: {url: 'https://a', service: {}}}}",
       "webhook.config.clientConfig.service: excludes url, give one of them"},
      {"webhook: {config: {clientConfig: {service: {port: 0}}}}",
       "webhook.config.clientConfig.service.port: want a number from 1 to 65535"},
      {"webhook: {config: {clientConfig: {service: {port: 70000}}}}",
       "webhook.config.clientConfig.service.port: want a number from 1 to 65535"},
      {"webhook: {config: {clientConfig: {service: {port: https}}}}",
       "webhook.config.clientConfig.service.port: want a whole number of 32 bits, got \"https\""},
      {"webhook: {config: {clientConfig: {service: {name: A}}}}",
       "webhook.config.clientConfig.service.name: \"A\" is no name that Kubernetes allows there"},
      {"webhook: {config: {clientConfig: {service: {path: a}}}}",
       "webhook.config.clientConfig.service.path: want a path like /prefix, got \"a\""},
      {"webhook: {config: {clientConfig: {service: {path: /a//b}}}}",
       "webhook.config.clientConfig.service.path: want a path like /prefix, got \"/a//b\""},
      {"webhook: {config: {namespaceSelector: {matchLabels: {a: '-'}}}}",
       "webhook.config.namespaceSelector.matchLabels: \"-\" is no label value"},
      {"webhook: {config: {namespaceSelector: {matchLabels: {'a/': b}}}}",
       "webhook.config.namespaceSelector.matchLabels: \"a/\" is no label key"},
      {"webhook: {config: {namespaceSelector: {matchExpressions: {}}}}",
       "webhook.config.namespaceSelector.matchExpressions: want a list, got a mapping"},
      {"webhook: {config: {namespaceSelector: {matchExpressions: [a]}}}",
       "webhook.config.namespaceSelector.matchExpressions[0]: want a mapping, got \"a\"\n"
       "sharder.yaml: webhook.config.namespaceSelector.matchExpressions[0].key: \"\" is no label key\n"
       "sharder.yaml: webhook.config.namespaceSelector.matchExpressions[0].operator: want In, NotIn, Exists or "
       "DoesNotExist, got \"\""},
      {"webhook: {config: {namespaceSelector: {matchExpressions: [{key: a, operator: in, values: [b]}]}}}",
       "webhook.config.namespaceSelector.matchExpressions[0].operator: want In, NotIn, Exists or DoesNotExist, got "
       "\"in\""},
      {"webhook: {config: {namespaceSelector: {matchExpressions: [{key: a, operator: In}]}}}",
       "webhook.config.namespaceSelector.matchExpressions[0].values: In needs at least one value"},
      {"webhook: {config: {namespaceSelector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}}}",
       "webhook.config.namespaceSelector.matchExpressions[0].values: Exists takes no values"},
      {"webhook: {config: {namespaceSelector: {matchExpressions: [{key: a, operator: In, values: ['b c']}]}}}",
       "webhook.config.namespaceSelector.matchExpressions[0].values: \"b c\" is no label value"},
      {"webhook: {config: {namespaceSelector: {matchExpressions: [{key: a, operator: NotIn, values: b}]}}}",
       "webhook.config.namespaceSelector.matchExpressions[0].values: want a list of strings, got \"b\"\n"
       "sharder.yaml: webhook.config.namespaceSelector.matchExpressions[0].values: NotIn needs at least one value"},
      {"? [a]\n: b", "line 3, column 3: a key that is no string"},
      {"'<<': {shutdownDelay: 5s}", "<<: unknown field"},
      {"<<: {shutdownDelay: 5s}\nshutdownDelay: 6s", "shutdownDelay: given twice"},
      {"clientConnection: {qps: .inf}", "line 3, column 25: JSON has no such number"},
  };
  for (const Case& c : cases) {
    CHECK(mistake(c.body) == std::string("sharder.yaml: ") + c.message);
  }
}

TEST_CASE("addresses that no listener understands are mistakes") {
  for (const char* section : {"health", "metrics"}) {
    CHECK(mistake(std::string(section) + ": {bindAddress: nonsense}")
              .starts_with("sharder.yaml: " + std::string(section) + ".bindAddress: "));
  }
  CHECK(mistake("webhook: {server: {bindAddress: '0'}}").starts_with("sharder.yaml: webhook.server.bindAddress: "));
  CHECK(
      mistake("webhook: {server: {bindAddress: ':99999'}}").starts_with("sharder.yaml: webhook.server.bindAddress: "));
}

TEST_CASE("URLs that the API server would reject are mistakes") {
  for (const char* url : {"https://", "https:///a", "https://:443", "https://u@a", "https://a?b", "https://a#b",
                          "https://a b", "a", "HTTPS://a"}) {
    CAPTURE(url);
    CHECK(mistake("webhook: {config: {clientConfig: {url: '" + std::string(url) + "'}}}")
              .starts_with("sharder.yaml: webhook.config.clientConfig.url: want https://"));
  }
  CHECK(good("webhook: {config: {clientConfig: {url: 'https://[::1]:443/a/'}}}").webhook.client_config.url ==
        "https://[::1]:443/a/");
}

TEST_CASE("the error has all mistakes at once") {
  CHECK(mistake("shutdownDelay: abc\nclientConnection: {qpss: 1}\n") ==
        "sharder.yaml: clientConnection.qpss: unknown field, did you mean qps?\n"
        "sharder.yaml: shutdownDelay: want a duration like 5m, got \"abc\"");
}

TEST_CASE("only one SharderConfig of the known version is taken") {
  struct Case {
    std::string text;
    const char* message;
  };
  const Case cases[] = {
      {"", "x: is empty, want a SharderConfig"},
      {"# nothing\n---\n", "x: is empty, want a SharderConfig"},
      {kHead + "---\n" + kHead, "x: holds more than one document"},
      {"[]",
       "x: want a mapping, got a list\nx: apiVersion: want config.sharding.timebertt.dev/v1alpha1\n"
       "x: kind: want SharderConfig"},
      {"kind: SharderConfig", "x: apiVersion: want config.sharding.timebertt.dev/v1alpha1"},
      {"apiVersion: config.sharding.timebertt.dev/v1beta1\nkind: SharderConfig",
       "x: apiVersion: want config.sharding.timebertt.dev/v1alpha1, got \"config.sharding.timebertt.dev/v1beta1\""},
      {"apiVersion: config.sharding.timebertt.dev/v1alpha1\nkind: 5",
       "x: kind: want a string, got the number 5 (a string that looks like something else needs quotes)"},
      {"apiVersion: config.sharding.timebertt.dev/v1alpha1\nkind: Deployment",
       "x: kind: want SharderConfig, got \"Deployment\""},
  };
  for (const Case& c : cases) {
    CAPTURE(c.text);
    const auto config = parse_config(c.text, "x", std::nullopt);
    REQUIRE_FALSE(config);
    CHECK(config.error().message == c.message);
  }
  CHECK(parse_config(kHead + "---\n", "x", std::nullopt));
}

TEST_CASE("a text that is no YAML is an error with its place") {
  const auto config = parse_config(kHead + "a: b: c\n", "sharder.yaml", std::nullopt);
  REQUIRE_FALSE(config);
  CHECK(config.error().message.starts_with("sharder.yaml: line 3, column 5: "));
}

TEST_CASE("a file that cannot be read is named with the reason") {
  const sharder::testing::TempFolder folder;
  const std::string missing = (folder / "none.yaml").string();
  CHECK(load_config(missing, std::nullopt).error().message == missing + ": No such file or directory");
  const std::string file = folder.write("a.yaml", kHead + "x: 1\n").string();
  CHECK(load_config(file, std::nullopt).error().message == file + ": x: unknown field");
}

}  // namespace

TEST_CASE("the status page is off unless it has an address of the loopback interface (protocol, 10)") {
  const std::string head = "apiVersion: config.sharding.timebertt.dev/v1alpha1\nkind: SharderConfig\n";
  const auto parse = [&](const std::string& address) {
    return parse_config(head + "status: {bindAddress: '" + address + "'}", "sharder.yaml", std::nullopt);
  };
  CHECK_FALSE(Config().status_bind_address);
  for (const char* address : {"", "0"}) {
    const auto config = parse(address);
    REQUIRE(config);
    CHECK_FALSE(config->status_bind_address);
  }
  for (const char* address : {"127.0.0.1:8082", "127.1.2.3:0", "[::1]:8082"}) {
    const auto config = parse(address);
    REQUIRE(config);
    CHECK(config->status_bind_address == address);
  }
  for (const char* address :
       {":8082", "0.0.0.0:8082", "[::]:8082", "10.0.0.1:8082", "localhost:8082", "example.com:8082", "nonsense"}) {
    CAPTURE(address);
    const auto config = parse(address);
    REQUIRE_FALSE(config);
    CHECK(config.error().message.starts_with("sharder.yaml: status.bindAddress: "));
  }
}
