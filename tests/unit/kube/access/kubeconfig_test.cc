#include "kube/access/kubeconfig.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "base/base64.h"
#include "kube/access/credentials.h"
#include "tests/support/fake_executor.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_certificate.h"
#include "tests/support/titled_texts.h"

// What kubectl makes of the same kubeconfigs, and who its requests are from: tests/testdata/yaml.
namespace sharder::kube {
namespace {

using nlohmann::json;

constexpr char kServer[] = "https://127.0.0.1:6443";

void replace(std::string& text, const std::string& from, const std::string& to) {
  for (auto at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
}

// As record.py.
std::string whole(std::string text) {
  static const std::string good = testing::TestCa().certificate_pem();
  for (const auto& [key, line] : std::initializer_list<std::pair<std::string, std::string>>{
           {"apiVersion", "apiVersion: v1"},
           {"clusters", "clusters: [{name: k, cluster: {server: '@SERVER@', certificate-authority-data: '@CA@'}}]"},
           {"users", "users: [{name: u, user: {token: t}}]"},
           {"contexts", "contexts: [{name: c, context: {cluster: k, user: u}}]"},
           {"current-context", "current-context: c"}}) {
    text += text.find(key) == std::string::npos ? line + "\n" : "";
  }
  std::string damaged = good;
  damaged.replace(damaged.find('\n') + 1, 20, 20, 'A');
  replace(text, "@CA@", encode_base64(good));
  replace(text, "@DAMAGED@", encode_base64(damaged));
  replace(text, "@GOOD_AND_DAMAGED@", encode_base64(good + damaged));
  replace(text, "@CA_AND_TEXT@", encode_base64("text\n" + good + "text\n"));
  replace(text, "@SERVER@", kServer);
  return text;
}

std::string authorization(const ClusterConfig& config) {
  testing::FakeClock clock;
  testing::FakeExecutor loop{clock};
  CredentialSource source(config, clock, loop, Logger::to_string(std::make_shared<std::string>()));
  std::string result;
  source.get([&](Result<CredentialSource::Current> current) { result = current.value()->authorization; });
  loop.run();
  return result;
}

// The headers that a request gets, by their names, as kubectl's server saw them.
json headers(const ClusterConfig& config) {
  json result = json::object();
  const auto add = [&](const std::string& name, const std::string& value) {
    if (!value.empty()) {
      result[name].push_back(value);
    }
  };
  add("authorization", authorization(config));
  add("impersonate-user", config.impersonate_user);
  add("impersonate-uid", config.impersonate_uid);
  for (const std::string& group : config.impersonate_groups) {
    result["impersonate-group"].push_back(group);
  }
  for (const auto& [key, value] : config.impersonate_extra) {
    add("impersonate-extra-" + key, value);
  }
  return result;
}

json exec(const ExecPlugin& plugin) {
  json variables;
  for (const auto& [name, value] : plugin.env) {
    variables.push_back({{"name", name}, {"value", value}});
  }
  return {{"command", plugin.command},  {"args", plugin.args},
          {"env", variables},           {"apiVersion", plugin.api_version},
          {"interactiveMode", "Never"}, {"provideClusterInfo", plugin.provide_cluster_info}};
}

void check(const ClusterConfig& config, const json& theirs) {
  CHECK(config.server == kServer);
  CHECK(config.insecure_skip_tls_verify == theirs.at("cluster").value("insecure-skip-tls-verify", false));
  CHECK(config.tls_server_name == theirs.at("cluster").value("tls-server-name", ""));
  CHECK(config.default_namespace == theirs.at("context").value("namespace", "default"));
  CHECK(config.exec.has_value() == theirs.at("user").contains("exec"));
  if (config.exec) {
    CHECK(exec(*config.exec) == theirs.at("user").at("exec"));
  } else {
    CHECK(headers(config) == theirs.at("headers"));
  }
}

TEST_CASE("a kubeconfig means what it means to kubectl, and a request comes from the same user") {
  const json answers = json::parse(testing::testdata("yaml/kubeconfig.json"));
  const auto cases = testing::titled_texts("yaml/kubeconfig.txt");
  REQUIRE(cases.size() > 100);
  REQUIRE(cases.size() == answers.size());
  const testing::TempFolder folder;
  folder.write("token", "from-file\n");
  folder.write("empty", "");
  folder.write("blank", " \n");
  for (const auto& [title, ours, text] : cases) {
    CAPTURE(title);
    const json& theirs = answers.at(title);
    const KubeconfigText file{.file = {}, .folder = folder.path(), .text = whole(text)};
    const auto config = resolve_kubeconfig(std::span(&file, 1), "");
    CAPTURE(config.has_value() ? "" : config.error().message);
    CHECK(config.has_value() == (ours.empty() ? !theirs.empty() : ours == "reads"));
    CHECK((ours.empty() || config.has_value() == theirs.empty()));
    if (config && !theirs.empty()) {
      check(*config, theirs);
    }
  }
}

}  // namespace
}  // namespace sharder::kube
