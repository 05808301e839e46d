#include "kube/access/exec_plugin.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "kube/codec/pem.h"
#include "tests/support/eventually.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_certificate.h"

namespace sharder::kube {
namespace {

using namespace std::chrono_literals;
using testing::TempFolder;

constexpr char kV1[] = "client.authentication.k8s.io/v1";

std::string credential(const std::string& status) {
  return std::string(R"({"apiVersion":")") + kV1 + R"(","kind":"ExecCredential","status":)" + status + "}";
}

ExecPlugin shell(const std::string& script) {
  return {.command = "sh",
          .args = {"-c", script},
          .env = {},
          .api_version = kV1,
          .install_hint = {},
          .provide_cluster_info = false,
          .cluster_extension = {}};
}

PluginRun run_whole(const ExecPlugin& plugin, std::chrono::milliseconds timeout = 60s,
                    const std::stop_token& stop = {}) {
  return run_exec_plugin(plugin, R"({"info":1})", timeout, stop);
}

Result<ExecCredentials> run(const ExecPlugin& plugin, std::chrono::milliseconds timeout = 60s,
                            const std::stop_token& stop = {}) {
  return run_whole(plugin, timeout, stop).credentials;
}

std::string read(const std::filesystem::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

TEST_CASE("a plugin's token and its expiry are read from its output") {
  const auto result =
      run(shell("echo '" + credential(R"({"token":"t","expirationTimestamp":"2026-11-23T07:00:00Z"})") + "'"));
  REQUIRE(result);
  CHECK(result->token == "t");
  CHECK(result->expires == WallTime(std::chrono::sys_days(std::chrono::year(2026) / 11 / 23) + 7h));
}

TEST_CASE("a plugin gets its arguments, its environment and the info, but no standard input") {
  const TempFolder folder;
  ExecPlugin plugin = shell("echo \"$0|$1|$OWN|$KUBERNETES_EXEC_INFO|$HOME|$(cat)\" > " + (folder / "seen").string() +
                            "; echo '" + credential(R"({"token":"t"})") + "'");
  plugin.args.insert(plugin.args.end(), {"zero", "one two"});
  plugin.env = {{"OWN", "value"}, {"HOME", "/changed"}};
  REQUIRE(run(plugin));
  CHECK(read(folder / "seen") == "zero|one two|value|{\"info\":1}|/changed|\n");
}

TEST_CASE("a plugin that fails is named with exit code and install hint, its last words are for the log alone") {
  ExecPlugin plugin = shell("echo first >&2; echo 'not logged in' >&2; exit 3");
  plugin.install_hint = "run\nlogin";
  const auto failed = run_whole(plugin);
  REQUIRE_FALSE(failed.credentials);
  CHECK(failed.credentials.error().code == ErrorCode::kUnauthorized);
  CHECK(failed.credentials.error().message == "exec plugin sh: exit code 3 (run login)");
  CHECK(failed.last_words == "not logged in");
  CHECK(run_whole(shell("echo oops; echo 'no browser' >&2")).last_words == "no browser");
  CHECK(run(shell("kill -9 $$")).error().message == "exec plugin sh: killed by signal 9");
}

TEST_CASE("a plugin that is not there is named with its install hint") {
  ExecPlugin plugin = shell("");
  plugin.command = "/none/plugin";
  plugin.install_hint = "install it";
  CHECK(run(plugin).error().message == "exec plugin /none/plugin: No such file or directory (install it)");
}

TEST_CASE("a plugin that hangs is killed with its children") {
  const TempFolder folder;
  const auto result = run(shell("(sleep 600; echo late > " + (folder / "late").string() + ") & echo $! > " +
                                (folder / "child").string() + "; wait"),
                          300ms);
  REQUIRE_FALSE(result);
  CHECK(result.error().message.starts_with("exec plugin sh: no answer within "));
  const std::string child = read(folder / "child");
  const pid_t pid = std::stoi(child);
  // Gone, or a zombie that whoever is init here has not buried yet.
  CHECK(testing::eventually([&] {
    const std::string stat = read("/proc/" + std::to_string(pid) + "/stat");
    return stat.empty() || stat.find(") Z ") != std::string::npos;
  }));
}

TEST_CASE("a stop ends the wait for a plugin at once") {
  std::stop_source stop;
  std::jthread stopper([&] { stop.request_stop(); });
  CHECK(run(shell("sleep 600"), 60s, stop.get_token()).error().code == ErrorCode::kCancelled);
}

TEST_CASE("a plugin that leaves a child with its output behind is done when it ends") {
  const auto result = run(shell("sleep 600 & echo '" + credential(R"({"token":"t"})") + "'; kill -0 $! && exit 0"));
  CHECK(result);
}

TEST_CASE("a plugin that closes its output and goes on is waited for") {
  const auto result = run(shell("echo '" + credential(R"({"token":"t"})") + "'; exec >&- 2>&-; sleep 0.2; exit 7"));
  CHECK(result.error().message == "exec plugin sh: exit code 7");
}

TEST_CASE("endless output is not kept") {
  const auto result = run(shell("head -c 3000000 /dev/zero | tr '\\0' x; exit 0"));
  REQUIRE_FALSE(result);
  CHECK(result.error().message.size() < 2000);
}

TEST_CASE("output that is not a credential is an error") {
  const auto message = [](const std::string& text) { return parse_exec_credential(text, kV1).error().message; };
  CHECK(message("oops").starts_with("standard output: "));
  CHECK(message("{}") == "standard output: not an ExecCredential of client.authentication.k8s.io/v1");
  CHECK(message(R"({"apiVersion":"client.authentication.k8s.io/v1beta1","kind":"ExecCredential","status":{}})") ==
        "standard output: not an ExecCredential of client.authentication.k8s.io/v1");
  CHECK(message(R"({"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential"})") ==
        "standard output: no status in it");
  CHECK(message(credential("{}")) == "standard output: neither token nor certificate in it");
  CHECK(message(credential("null")) == "standard output: neither token nor certificate in it");
  CHECK(message(credential(R"({"token":1})")) == "standard output: neither token nor certificate in it");
  CHECK(message(credential(R"({"token":"a\nb"})")) == "standard output: control characters in the token");
  CHECK(message(credential(R"({"clientKeyData":"a"})")) == "standard output: only one of certificate and key in it");
  CHECK(message(credential(R"({"clientKeyData":"a","clientCertificateData":"b"})")) ==
        "standard output: status.clientCertificateData: no certificate in it");
  CHECK(message(credential(R"({"token":"a","expirationTimestamp":"soon"})")) ==
        "standard output: status.expirationTimestamp is not a time");
}

TEST_CASE("a plugin may return a certificate") {
  const testing::TestCa ca;
  const auto leaf = ca.issue();
  const nlohmann::json status = {{"clientCertificateData", leaf.certificate_pem},
                                 {"clientKeyData", leaf.private_key_pem}};
  const auto result = parse_exec_credential(credential(status.dump()), kV1);
  REQUIRE(result);
  CHECK(result->client_certificate_pem == leaf.certificate_pem);
  CHECK(result->client_key_pem == leaf.private_key_pem);
}

TEST_CASE("the info holds the cluster only when the plugin asks for it") {
  ClusterConfig config;
  config.server = "https://a:1";
  config.exec = shell("");
  CHECK(nlohmann::json::parse(exec_info(config)) ==
        nlohmann::json::parse(R"({"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential",
                                  "spec":{"interactive":false}})"));
  config.exec->provide_cluster_info = true;
  config.exec->cluster_extension = R"({"audience":"x"})";
  config.tls_server_name = "name";
  config.ca_pem = "pem";
  config.proxy_url = "http://p";
  config.insecure_skip_tls_verify = true;
  CHECK(nlohmann::json::parse(exec_info(config))["spec"]["cluster"] ==
        nlohmann::json::parse(R"({"server":"https://a:1","tls-server-name":"name","insecure-skip-tls-verify":true,
                                  "certificate-authority-data":"cGVt","proxy-url":"http://p",
                                  "config":{"audience":"x"}})"));
}

}  // namespace
}  // namespace sharder::kube
