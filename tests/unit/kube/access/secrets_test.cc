#include <doctest/doctest.h>

#include <array>
#include <string>
#include <vector>

#include "base/base64.h"
#include "kube/access/config.h"
#include "kube/access/credentials.h"
#include "kube/access/exec_plugin.h"
#include "kube/access/tls_files.h"
#include "kube/access/token_file.h"
#include "kube/codec/json.h"
#include "kube/codec/object_meta.h"
#include "kube/codec/pem.h"
#include "kube/watch/watch_decoder.h"
#include "tests/support/eventually.h"
#include "tests/support/fake_executor.h"
#include "tests/support/parse_kubeconfig.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_certificate.h"

// design, 6.12: input that may hold a secret is never quoted. Each secret here is QZQZQZ, which no word of ours and no
// random text of a certificate is likely to have, so that a part of it is found as well.
namespace sharder::kube {
namespace {

using namespace std::chrono_literals;
using testing::parse_kubeconfig;
using testing::TempFolder;
using testing::TestCa;

constexpr char kV1[] = "client.authentication.k8s.io/v1";

// What was said of an input: the test's subject.
void check_silent(const std::string& said) {
  CAPTURE(said);
  CHECK_FALSE(said.empty());
  CHECK_FALSE(said.contains("QZ"));
}

const TestCa& ca() {
  static const TestCa instance;
  return instance;
}

// A kubeconfig in one line of JSON-like YAML, whose cluster and user have these fields.
std::string kubeconfig(const std::string& user, const std::string& cluster = "server: 'https://a'") {
  return "current-context: c\ncontexts: [{name: c, context: {cluster: k, user: u}}]\n"
         "clusters: [{name: k, cluster: {" +
         cluster + "}}]\nusers:\n- name: u\n  user:\n    " + user + "\n";
}

TEST_CASE("a kubeconfig that cannot be read is not quoted (design, 6.12)") {
  const std::vector<std::string> texts{
      // A file of a token, and other files that are none.
      "QZQZQZ",
      "QZQZQZ: [",
      "- QZQZQZ",
      "kind: [QZQZQZ]",
      R"({"users": [{"user": {"token": "QZQZQZ)",
      R"({"users": {"token": "QZQZQZ"}})",
      "\tQZQZQZ: a",
      "token: QZQZQZ: a",
      "%QZQZQZ\n---\na: b",
      "a: b\nQZQZQZ",
      // Broken where the secret stands.
      kubeconfig("token: \"QZQZQZ\\q\""),
      kubeconfig("token: 'QZQZQZ"),
      kubeconfig("token: \"QZQZQZ"),
      kubeconfig("token: *QZQZQZ"),
      kubeconfig("token: [QZQZQZ"),
      kubeconfig("token: {QZQZQZ"),
      kubeconfig("token: @QZQZQZ"),
      kubeconfig("token: `QZQZQZ`"),
      kubeconfig("token: \"\\xQZQZQZ\""),
      kubeconfig("token: \"QZQZQZ\"QZQZQZ"),
      kubeconfig("token: !<QZQZQZ"),
      kubeconfig("token: &QZQZQZ *QZQZQZ"),
      kubeconfig("token: >QZQZQZ"),
      kubeconfig("token: QZQZQZ\n   password: QZQZQZ"),
      // Whole, but of a wrong type or no use.
      kubeconfig("token: [QZQZQZ]"),
      kubeconfig("token: {QZQZQZ: 1}"),
      kubeconfig("password: {a: QZQZQZ}"),
      kubeconfig("[QZQZQZ]"),
      kubeconfig("QZQZQZ"),
      kubeconfig(R"(token: "QZ\nQZQZ")"),
      kubeconfig("{token: QZQZQZ, password: QZQZQZ}"),
      kubeconfig("client-key-data: QZQZQZ!"),
      kubeconfig("{client-certificate-data: QZQZ, client-key-data: QZQZ}"),
      kubeconfig("client-certificate-data: " + encode_base64("QZQZQZ")),
      kubeconfig("{client-certificate-data: " + encode_base64(ca().certificate_pem()) +
                 ", client-key-data: " + encode_base64("-----BEGIN PRIVATE KEY-----\nQZQZQZ\n-----END") + "}"),
      kubeconfig("auth-provider: {name: oidc, config: {id-token: QZQZQZ}}"),
      kubeconfig("exec: {command: a, apiVersion: QZQZQZ}"),
      kubeconfig("exec: {command: a, apiVersion: client.authentication.k8s.io/v1, env: [{value: QZQZQZ}]}"),
      kubeconfig("exec: {command: a, args: [[QZQZQZ]]}"),
      // Passwords in URLs.
      kubeconfig("token: t", "server: 'https://user:QZQZQZ@a'"),
      kubeconfig("token: t", "server: 'https://user:QZQZQZ@[a'"),
      kubeconfig("token: t", "server: 'https://user:QZQZQZ@a b'"),
      kubeconfig("token: t", "server: 'user:QZQZQZ@a'"),
      kubeconfig("token: t", "server: 'https://a', proxy-url: 'http://user:QZQZQZ@a:99999'"),
      kubeconfig("token: t", "server: 'https://a', proxy-url: 'ftp://user:QZQZQZ@a'"),
      kubeconfig("token: t", "server: 'https://a', proxy-url: 'user:QZQZQZ@://a'"),
      kubeconfig("token: t", "server: 'https://a', proxy-url: 'http://user:QZQZQZ@'"),
      kubeconfig("token: t", "server: 'https://a', insecure-skip-tls-verify: QZQZQZ"),
      kubeconfig("token: t", "server: 'https://a', certificate-authority-data: QZQZQZ"),
  };
  for (const std::string& text : texts) {
    CAPTURE(text);
    const auto result = parse_kubeconfig(text, "/", "");
    REQUIRE_FALSE(result);
    check_silent(result.error().message);
  }
}

TEST_CASE("a token file that holds no token is not quoted (design, 6.12)") {
  const TempFolder folder;
  for (const std::string text : {"QZQZ\nQZQZ", "QZQZ\x01", "QZQZ\r\nX-Header: QZ"}) {
    const std::string file = folder.write("token", text);
    const auto token = read_token(file);
    REQUIRE_FALSE(token);
    check_silent(token.error().message);
    const auto config = parse_kubeconfig(kubeconfig("tokenFile: " + file), "/", "");
    REQUIRE_FALSE(config);
    check_silent(config.error().message);
  }
}

TEST_CASE("a plugin's output is quoted neither in errors nor in the log (design, 6.12)") {
  const auto credential = [](const std::string& status) {
    return std::string(R"({"apiVersion":")") + kV1 + R"(","kind":"ExecCredential","status":)" + status + "}";
  };
  const std::vector<std::string> outputs{
      credential("{\"token\":\"QZQZ\nQZQZ\"}"),
      credential(R"({"token":"QZQZQZ"})") + "\ndone QZ",
      credential(R"({"token":"QZQZQZ"})") + credential(R"({"token":"QZQZQZ"})"),
      credential(R"({"token":"QZQZQZ)"),
      credential(R"({"token":"QZQZQZ\q"})"),
      credential("{\"token\":\"QZQZQZ\xff\"}"),
      credential("{\"token\":QZQZQZ}"),
      credential(R"({"token":["QZQZQZ"]})"),
      credential(R"({"token":{"QZQZQZ":1}})"),
      credential(R"({"QZQZQZ"})"),
      credential(R"("QZQZQZ")"),
      credential(R"({"token":"QZQZ\nQZ"})"),
      credential(R"({"token":"QZQZ","expirationTimestamp":"QZQZ"})"),
      credential(R"({"clientKeyData":"QZQZ"})"),
      credential(R"({"clientKeyData":"QZQZ","clientCertificateData":"QZQZ"})"),
      R"({"apiVersion":"QZQZ","kind":"QZQZ","status":{"token":"QZQZ"}})",
      "QZQZQZ",
      "token: QZQZQZ",
  };
  for (const std::string& output : outputs) {
    CAPTURE(output);
    const auto parsed = parse_exec_credential(output, kV1);
    REQUIRE_FALSE(parsed);
    check_silent(parsed.error().message);

    const TempFolder folder;
    ClusterConfig config;
    config.exec = ExecPlugin{.command = "cat",
                             .args = {folder.write("output", output)},
                             .env = {{"PASSWORD", "QZQZQZ"}},
                             .api_version = kV1,
                             .install_hint = {},
                             .provide_cluster_info = false,
                             .cluster_extension = {}};
    const auto lines = std::make_shared<std::string>();
    testing::FakeClock clock;
    testing::FakeExecutor loop{clock};
    CredentialSource source(config, clock, loop, Logger::to_string(lines));
    std::string told;
    source.get([&](const Result<CredentialSource::Current>& current) { told = current.error().message; });
    REQUIRE(testing::eventually([&] {
      loop.run();
      return !told.empty();
    }));
    check_silent(told);
    CHECK(lines->contains("credentials not renewed"));
    check_silent(*lines);
  }
}

TEST_CASE("keys and certificates that cannot be used are not quoted (design, 6.12)") {
  const auto leaf = ca().issue();
  const std::string damaged_key = "-----BEGIN PRIVATE KEY-----\nQZQZQZQZ\n-----END PRIVATE KEY-----\n";
  const std::string damaged = "-----BEGIN CERTIFICATE-----\nQZQZQZQZ\n-----END CERTIFICATE-----\n";
  const TempFolder folder;
  const auto lines = std::make_shared<std::string>();
  ClusterConfig config;
  config.client_certificate_file = folder.write("tls.crt", leaf.certificate_pem);
  config.client_key_file = folder.write("tls.key", leaf.private_key_pem);
  auto files = TlsFiles::load(config, Logger::to_string(lines));
  REQUIRE(files);
  for (const auto& [certificate, key] :
       {std::pair(leaf.certificate_pem, std::string("QZQZQZ")), std::pair(leaf.certificate_pem, damaged_key),
        std::pair(std::string("QZQZQZ"), leaf.private_key_pem), std::pair(damaged, damaged_key)}) {
    const auto pair = check_key_pair(certificate, key);
    REQUIRE_FALSE(pair);
    check_silent(pair.error().message);
    folder.write("tls.crt", certificate);
    folder.write("tls.key", key);
    CHECK_FALSE(files->refresh(std::chrono::steady_clock::now(), true));
  }
  CHECK(lines->contains("certificates not read again"));
  check_silent(*lines);
  const auto decoded = decode_base64("QZQZQZ!");
  REQUIRE_FALSE(decoded);
  check_silent(decoded.error().message);
}

TEST_CASE("an answer of the API server that does not parse is not quoted (design, 6.12)") {
  const std::vector<std::string> objects{R"({"data":{"password":"QZQZQZ)",
                                         "{\"data\":{\"password\":\"QZ\nQZ\"}}",
                                         R"({"metadata":{"name":["QZQZQZ"]}})",
                                         R"({"metadata":{"annotations":{"a":"QZQZQZ"}}})",
                                         R"({"metadata":"QZQZQZ"})",
                                         "QZQZQZ"};
  for (const std::string& object : objects) {
    CAPTURE(object);
    ObjectMetaDecoder decoder;
    const auto meta = decoder.decode(object);
    REQUIRE_FALSE(meta);
    check_silent(meta.error().message);
    std::string page = R"({"items":[)" + object;
    const auto list = decoder.decode_list(page, [](const auto&) {});
    REQUIRE_FALSE(list);
    check_silent(list.error().message);
  }
  for (const std::string& line :
       {std::string(R"({"type":"QZQZQZ","object":{}})"), std::string(R"({"type":"ADDED","object":"QZQZQZ)"),
        std::string(R"({"type":["QZQZQZ"]})")}) {
    CAPTURE(line);
    WatchDecoder decoder;
    const auto fed = decoder.feed(line + "\n", [](const auto&) { return true; });
    REQUIRE_FALSE(fed);
    check_silent(fed.error().message);
  }
  const auto json = parse_json(R"({"status":{"token":QZQZQZ}})");
  REQUIRE_FALSE(json);
  check_silent(json.error().message);
}

}  // namespace
}  // namespace sharder::kube
