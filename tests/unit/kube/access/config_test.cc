#include "kube/access/config.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <map>

#include "base/base64.h"
#include "tests/support/parse_kubeconfig.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_certificate.h"

namespace sharder::kube {
namespace {

using testing::parse_kubeconfig;
using testing::TempFolder;
using testing::TestCa;

const TestCa& ca() {
  static const TestCa instance;
  return instance;
}

// A kubeconfig with one context whose cluster and user hold these lines ("server: ...", "token: ...").
std::string kubeconfig(const std::string& cluster, const std::string& user) {
  const auto indented = [](const std::string& lines) {
    std::string result;
    for (std::size_t at = 0; at < lines.size();) {
      const auto end = std::min(lines.find('\n', at), lines.size());
      result += "    " + lines.substr(at, end - at) + "\n";
      at = end + 1;
    }
    return result;
  };
  return "apiVersion: v1\nkind: Config\ncurrent-context: c\n"
         "contexts:\n- name: c\n  context: {cluster: k, user: u, namespace: ns}\n"
         "clusters:\n- name: k\n  cluster:\n" +
         indented(cluster) + "users:\n- name: u\n  user:\n" + indented(user);
}

constexpr char kServer[] = "server: https://10.0.0.1:6443";

std::string error_of(const Result<ClusterConfig>& result) {
  REQUIRE_FALSE(result);
  CHECK(result.error().code == ErrorCode::kInvalid);
  return result.error().message;
}

std::string user_error(const std::string& user) {
  return error_of(parse_kubeconfig(kubeconfig(kServer, user), "/", ""));
}

std::string cluster_error(const std::string& cluster) {
  return error_of(parse_kubeconfig(kubeconfig(cluster, "token: t"), "/", ""));
}

TEST_CASE("a kubeconfig with inline data is read whole") {
  const auto leaf = ca().issue();
  const auto config = parse_kubeconfig(
      kubeconfig("server: https://[fd00::1]:6443/prefix/\ntls-server-name: api\nproxy-url: socks5://p:1\n"
                 "certificate-authority-data: " +
                     encode_base64(ca().certificate_pem()),
                 "client-certificate-data: " + encode_base64(leaf.certificate_pem) +
                     "\nclient-key-data: " + encode_base64(leaf.private_key_pem) +
                     "\ntoken: secret\nas: bob\nas-uid: '7'\nas-groups: [a, b]\nas-user-extra: {k: [x, 'y'], l: [z]}"),
      "/", "");
  REQUIRE(config);
  CHECK(config->server == "https://[fd00::1]:6443/prefix");
  CHECK(config->tls_server_name == "api");
  CHECK(config->proxy_url == "socks5://p:1");
  CHECK(config->ca_pem == ca().certificate_pem());
  CHECK(config->ca_file.empty());
  CHECK(config->client_certificate_pem == leaf.certificate_pem);
  CHECK(config->client_key_pem == leaf.private_key_pem);
  CHECK(config->token == "secret");
  CHECK(config->impersonate_user == "bob");
  CHECK(config->impersonate_uid == "7");
  CHECK(config->impersonate_groups == std::vector<std::string>{"a", "b"});
  CHECK(config->impersonate_extra ==
        std::vector<std::pair<std::string, std::string>>{{"k", "x"}, {"k", "y"}, {"l", "z"}});
  CHECK(config->default_namespace == "ns");
  CHECK(config->source == "context c");
  CHECK_FALSE(config->insecure_skip_tls_verify);
  CHECK_FALSE(config->exec);
}

TEST_CASE("files are relative to the kubeconfig") {
  const TempFolder folder;
  const auto leaf = ca().issue();
  folder.write("pki/ca.crt", ca().certificate_pem());
  folder.write("pki/tls.crt", leaf.certificate_pem);
  folder.write("pki/tls.key", leaf.private_key_pem);
  folder.write("token", "abc\n");
  folder.write("config", kubeconfig(std::string(kServer) + "\ncertificate-authority: pki/ca.crt",
                                    "client-certificate: ./pki/tls.crt\nclient-key: pki/../pki/tls.key\n"
                                    "tokenFile: token"));
  const auto config = load_config({.kubeconfig_flag = folder / "config"});
  REQUIRE(config);
  CHECK(config->ca_pem == ca().certificate_pem());
  CHECK(config->ca_file == (folder / "pki/ca.crt"));
  CHECK(config->client_certificate_file == (folder / "pki/tls.crt"));
  CHECK(config->client_key_file == (folder / "pki/tls.key"));
  CHECK(config->client_key_pem == leaf.private_key_pem);
  CHECK(config->token_file == (folder / "token"));
  CHECK(config->source == (folder / "config").string() + ", context c");
}

TEST_CASE("a kubeconfig may be JSON") {
  const auto config = parse_kubeconfig(
      R"({"apiVersion":"v1","kind":"Config","current-context":"c",
          "contexts":[{"name":"c","context":{"cluster":"k","user":"u"}}],
          "clusters":[{"name":"k","cluster":{"server":"https://a:1","insecure-skip-tls-verify":true}}],
          "users":[{"name":"u","user":{"username":"me","password":"pw"}}]})",
      "/", "");
  REQUIRE(config);
  CHECK(config->insecure_skip_tls_verify);
  CHECK(config->username == "me");
  CHECK(config->password == "pw");
  CHECK(config->default_namespace == "default");
}

TEST_CASE("an exec plugin is read with its defaults") {
  const auto v1 = parse_kubeconfig(
      kubeconfig(std::string(kServer) +
                     "\nextensions:\n- name: other\n  extension: 1\n- name: client.authentication.k8s.io/exec\n"
                     "  extension: {audience: x, list: [1, 2.5, true, null, 'true', text]}",
                 "exec:\n  apiVersion: client.authentication.k8s.io/v1\n  command: bin/plugin\n  args: [a, b]\n"
                 "  env:\n  - {name: A, value: b}\n  - {name: C}\n  installHint: get it\n  provideClusterInfo: true\n"
                 "  interactiveMode: Never"),
      "/etc/kube", "");
  REQUIRE(v1);
  REQUIRE(v1->exec);
  CHECK(v1->exec->command == "/etc/kube/bin/plugin");
  CHECK(v1->exec->args == std::vector<std::string>{"a", "b"});
  CHECK(v1->exec->env == std::vector<std::pair<std::string, std::string>>{{"A", "b"}, {"C", ""}});
  CHECK(v1->exec->install_hint == "get it");
  CHECK(v1->exec->provide_cluster_info);
  CHECK(v1->exec->cluster_extension == R"({"audience":"x","list":[1,2.5,true,null,"true","text"]})");

  const auto beta = parse_kubeconfig(
      kubeconfig(kServer, "exec: {apiVersion: client.authentication.k8s.io/v1beta1, command: plugin}"), "/", "");
  REQUIRE(beta);
  CHECK(beta->exec->command == "plugin");  // looked up in PATH
  CHECK(beta->exec->cluster_extension.empty());
}

TEST_CASE("an exec plugin stands back behind fixed credentials") {
  const std::string exec = "\nexec: {apiVersion: client.authentication.k8s.io/v1beta1, command: plugin}";
  for (const char* fixed : {"token: t", "username: u", "password: p"}) {
    CAPTURE(fixed);
    const auto config = parse_kubeconfig(kubeconfig(kServer, fixed + exec), "/", "");
    REQUIRE(config);
    CHECK_FALSE(config->exec);
  }
}

TEST_CASE("without TLS no credentials are shown") {
  const auto config = parse_kubeconfig(kubeconfig("server: localhost:8080", "token: t\nas: bob"), "/", "");
  REQUIRE(config);
  CHECK(config->server == "http://localhost:8080");
  CHECK(config->token.empty());
  CHECK(config->impersonate_user == "bob");
  const auto tls =
      parse_kubeconfig(kubeconfig("server: localhost:6443\ninsecure-skip-tls-verify: true", "token: t"), "/", "");
  REQUIRE(tls);
  CHECK(tls->server == "https://localhost:6443");
  CHECK(tls->token == "t");
}

TEST_CASE("a wrong user is an error that names field and reason") {
  const auto one = ca().issue();
  const auto two = ca().issue();
  const std::string certificate = "client-certificate-data: " + encode_base64(one.certificate_pem) + "\n";
  const std::string exec = "exec:\n  apiVersion: client.authentication.k8s.io/v1\n  ";
  struct Case {
    std::string user;
    std::string message;
  };
  const Case cases[] = {
      {certificate + "client-key-data: '*'", "client-key-data: not valid base64"},
      {certificate + "client-key-data: " + encode_base64(two.private_key_pem),
       "client-key-data: certificate and key do not match"},
      {certificate, "client-certificate without client-key"},
      {"client-certificate: /none\nclient-key: /none", "client-certificate: No such file or directory"},
      {"client-certificate-data: " + encode_base64("x") + "\nclient-key-data: eA==",
       "client-certificate-data: no certificate in it"},
      {"client-certificate-data: aGk=\nclient-certificate: a",
       "client-certificate: not allowed together with client-certificate-data"},
      {"tokenFile: /none", "tokenFile: No such file or directory"},
      {"tokenFile: none", "tokenFile: No such file or directory (relative to /)"},
      {"token: 12345", "token: must be a string: put it in quotes"},
      {"token: \"a\\nb\"", "token: control characters in it"},
      {"token: [a]", "token: must be a string"},
      {"token: a\nusername: b", "both a token and a user name: only one of them can be used"},
      {"as-groups: [a]", "as: missing: as-uid, as-groups and as-user-extra need it"},
      {"as: a\nas-groups: b", "as-groups: must be a list"},
      {"as: a\nas-groups: [[b]]", "as-groups[0]: must be a string"},
      {"as: a\nas-user-extra: [b]", "as-user-extra: must be a map"},
      {"as: a\nas-user-extra: {b: c}", "as-user-extra: must be a list"},
      {"auth-provider: {name: gcp}", "auth-provider: not supported; use an exec plugin"},
      {"exec: plugin", "exec: must be a map"},
      {exec + "args: []", "exec.command: missing"},
      {"exec: {command: a}",
       "exec.apiVersion: must be client.authentication.k8s.io/v1 or client.authentication.k8s.io/v1beta1"},
      {exec + "command: a", "exec.interactiveMode: must be Never or IfAvailable"},
      {exec + "command: a\n  interactiveMode: Always",
       "exec.interactiveMode: Always is not possible: there is no terminal here"},
      {exec + "command: a\n  env: [{value: x}]", "exec.env[0].name: not a name of an environment variable"},
      {exec + "command: a\n  provideClusterInfo: maybe", "exec.provideClusterInfo: must be true or false"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.user);
    const std::string message = user_error(c.user);
    const bool dotless = c.message.starts_with("client-certificate without") || c.message.starts_with("both");
    CHECK(message == "kubeconfig: users[0].user" + std::string(dotless ? ": " : ".") + c.message);
  }
}

TEST_CASE("a wrong cluster is an error that names field and reason") {
  const std::string server = std::string(kServer) + "\n";
  const std::pair<std::string, std::string> cases[] = {
      {"server: ''", "server: missing"},
      {"server: ftp://a", "server: scheme \"ftp\" is not https or http"},
      {server + "certificate-authority: /none", "certificate-authority: No such file or directory"},
      {server + "certificate-authority-data: eA==", "certificate-authority-data: no certificate in it"},
      {server + "certificate-authority-data: e", "certificate-authority-data: not valid base64"},
      {server + "insecure-skip-tls-verify: true\ncertificate-authority-data: " + encode_base64(ca().certificate_pem()),
       "insecure-skip-tls-verify: not allowed together with a certificate-authority"},
      {server + "insecure-skip-tls-verify: 1.5", "insecure-skip-tls-verify: must be true or false"},
      {server + "proxy-url: gopher://a", "proxy-url: scheme \"gopher\" is not http, https or socks5"},
  };
  for (const auto& [cluster, message] : cases) {
    CAPTURE(cluster);
    CHECK(cluster_error(cluster) == "kubeconfig: clusters[0].cluster." + message);
  }
}

// A name in two files is the first one's; in one file client-go refuses it.
TEST_CASE("of two entries with the same name in a file neither is chosen") {
  const std::string user = "\n- name: u\n  user: {token: other}\n";
  CHECK(error_of(parse_kubeconfig(kubeconfig(kServer, "token: t") + user, "/", "")) ==
        "kubeconfig: users[1].name: an earlier entry has the same name");
}

TEST_CASE("what is merged into a user counts: a lost `as` would act with more rights") {
  const auto config = parse_kubeconfig(
      "base: &base {as: bob, as-groups: [readers]}\n" + kubeconfig(kServer, "<<: *base\ntoken: t"), "/", "");
  REQUIRE(config);
  CHECK(config->token == "t");
  CHECK(config->impersonate_user == "bob");
  CHECK(config->impersonate_groups == std::vector<std::string>{"readers"});
}

TEST_CASE("a token file that has no token yet leaves the token that stands beside it") {
  const auto config = parse_kubeconfig(kubeconfig(kServer, "token: t\ntokenFile: /none"), "/", "");
  REQUIRE(config);
  CHECK(config->token == "t");
  CHECK(config->token_file == "/none");
}

TEST_CASE("a wrong type makes the whole file unreadable, in an entry that nobody uses as well") {
  const std::string unused = "- name: unused\n  user: {token: 5}\n";
  CHECK(error_of(parse_kubeconfig(kubeconfig(kServer, "token: t") + unused, "/", "")) ==
        "kubeconfig: users[1].user.token: must be a string: put it in quotes");
}

// Secrets stand in all of these, as tokens, as pasted keys, as broken YAML.
TEST_CASE("no message quotes what stands in the file") {
  for (const std::string user : {"token: [MARKER]",
                                 "token: \"MARKER",
                                 "token: MARKER: MARKER",
                                 "tokenFile: MARKER",
                                 "token: *MARKER",
                                 "token: !!int MARKER",
                                 "token: 'MARKER\nb",
                                 "client-certificate: MARKER",
                                 "client-certificate-data: '*MARKER'",
                                 "client-certificate-data: TUFSS0VS",
                                 "client-certificate: a\nclient-key: MARKER",
                                 "? [MARKER]\n: a",
                                 "token: \"MARKER\\q\"",
                                 "as: a\nas-user-extra: {MARKER: MARKER}",
                                 "exec: MARKER",
                                 "exec: {apiVersion: MARKER, command: MARKER, env: [{name: 'MARKER=', value: MARKER}]}",
                                 "token: `MARKER",
                                 "token: %MARKER",
                                 "<<: MARKER",
                                 "username: \x01MARKER"}) {
    CAPTURE(user);
    CHECK(user_error(user).find("MARKER") == std::string::npos);
  }
  for (const std::string cluster : {"server: 'https://me:MARKER@a'", "server: 'https://a:MARKER'",
                                    "server: 'https://a b'", "server: https://a\nproxy-url: 'http://me:MARKER@a:99999'",
                                    "server: https://a\ncertificate-authority: MARKER"}) {
    CAPTURE(cluster);
    CHECK(cluster_error(cluster).find("MARKER") == std::string::npos);
  }
}

TEST_CASE("a damaged certificate file is named") {
  const TempFolder folder;
  folder.write("ca.crt", "nothing");
  CHECK(error_of(parse_kubeconfig(kubeconfig(std::string(kServer) + "\ncertificate-authority: ca.crt", ""),
                                  folder.path(), "")) == "kubeconfig: clusters[0].cluster.certificate-authority: " +
                                                             (folder / "ca.crt").string() + ": no certificate in it");
}

TEST_CASE("contexts, clusters and users must exist, the known ones are listed") {
  const std::string two =
      "contexts:\n- {name: a, context: {cluster: none}}\n- {name: b, context: {cluster: k, user: none}}\n"
      "clusters:\n- {name: k, cluster: {server: 'https://a'}}\n";
  const auto message = [&](const std::string& context) { return error_of(parse_kubeconfig(two, "/", context)); };
  CHECK(message("x") == "kubeconfig: context \"x\" does not exist; known: a, b");
  CHECK(message("a") == "kubeconfig: cluster \"none\" does not exist; known: k");
  CHECK(message("b") == "kubeconfig: user \"none\" does not exist; there are none");
  CHECK(message("") == "kubeconfig: no current-context");
  CHECK(error_of(parse_kubeconfig("", "/", "")) == "kubeconfig: no current-context");
}

TEST_CASE("of very many contexts only some are listed, and finding one does not take long") {
  std::string many = "contexts:\n";
  for (int i = 0; i < 20'000; ++i) {
    many += "- {name: c" + std::to_string(i) + "}\n";
  }
  const std::string message = error_of(parse_kubeconfig(many, "/", "x"));
  CHECK(message.starts_with("kubeconfig: context \"x\" does not exist; known: c0, c1, "));
  CHECK(message.ends_with(", c19, ..."));
}

TEST_CASE("a context without a user is anonymous") {
  const auto config = parse_kubeconfig(
      "current-context: a\ncontexts: [{name: a, context: {cluster: k}}]\n"
      "clusters: [{name: k, cluster: {server: 'https://a'}}]",
      "/", "");
  REQUIRE(config);
  CHECK(config->token.empty());
}

TEST_CASE("what is not a kubeconfig is an error, with the line where there is one") {
  const auto message = [](const std::string& text) { return error_of(parse_kubeconfig(text, "/", "")); };
  CHECK(message("a: b\nc: [d").starts_with("kubeconfig: line "));
  CHECK(message("kind: Pod") == "kubeconfig: not a kubeconfig: its kind is not Config");
  CHECK(message("apiVersion: v2") == "kubeconfig: not a kubeconfig: its apiVersion is not v1");
  CHECK(message("- a") == "kubeconfig: not a kubeconfig: must be a map");
  CHECK(message("clusters: {}") == "kubeconfig: clusters: must be a list");
  CHECK(message("clusters: [a]") == "kubeconfig: clusters[0]: must be a map");
  CHECK(message(std::string(9U << 20U, 'a')) == "kubeconfig: larger than 8 MiB");
}

TEST_CASE("hostile YAML is an error and does no harm") {
  CHECK(error_of(parse_kubeconfig(std::string(100'000, '['), "/", "")) ==
        "kubeconfig: line 1, column 66: nested too deeply");
  std::string dashes;
  for (int i = 0; i < 50'000; ++i) {
    dashes += "- ";
  }
  CHECK(error_of(parse_kubeconfig(dashes, "/", "")) == "kubeconfig: line 1, column 131: nested too deeply");
  CHECK(parse_kubeconfig("# " + std::string(200, '-') + "\n" + kubeconfig(kServer, "token: t"), "/", ""));
  std::string steps;  // deep by indentation
  for (int i = 0; i < 2'000; ++i) {
    steps += std::string(static_cast<std::size_t>(i), ' ') + "a:\n";
  }
  CHECK_FALSE(parse_kubeconfig(steps, "/", ""));
  // Ten levels of ten references: 10^10 nodes for whoever follows them all.
  std::string bomb = kubeconfig(std::string(kServer),
                                "exec:\n  apiVersion: client.authentication.k8s.io/v1\n"
                                "  command: a\n  interactiveMode: Never");
  std::string levels = "x0: &x0 [a, a]\n";
  for (int i = 1; i < 10; ++i) {
    const std::string before = "*x" + std::to_string(i - 1);
    levels += "x" + std::to_string(i) + ": &x" + std::to_string(i) + " [" + before;
    for (int n = 1; n < 10; ++n) {
      levels += ", " + before;
    }
    levels += "]\n";
  }
  bomb.insert(bomb.find("users:"),
              "    extensions:\n    - name: client.authentication.k8s.io/exec\n"
              "      extension: *x9\n");
  CHECK(error_of(parse_kubeconfig(levels + bomb, "/", "")) ==
        "kubeconfig: line 1, column 13: too much comes from aliases");
}

// The lookup, with an environment of its own.
struct Lookup {
  TempFolder folder;
  std::map<std::string, std::string> variables;

  std::string write(const std::string& name, const std::string& server) {
    return folder.write(name, kubeconfig("server: " + server, "token: t"));
  }
  void enter_cluster(const std::string& host = "10.96.0.1") {
    variables["KUBERNETES_SERVICE_HOST"] = host;
    variables["KUBERNETES_SERVICE_PORT"] = "443";
    folder.write("sa/token", "inside\n");
    folder.write("sa/ca.crt", ca().certificate_pem());
    folder.write("sa/namespace", "team");
  }
  Result<ClusterConfig> load(const std::string& flag = {}, const std::string& context = {}) const {
    return load_config({.kubeconfig_flag = flag,
                        .context = context,
                        .environment = [this](const std::string& name) -> std::optional<std::string> {
                          const auto found = variables.find(name);
                          return found == variables.end() ? std::nullopt : std::optional(found->second);
                        },
                        .service_account_dir = folder / "sa",
                        .home_dir = folder / "home"});
  }
};

// Protocol, section 7: the order that controller-runtime looks in.
TEST_CASE("the flag comes before $KUBECONFIG, in-cluster and the home folder, in this order") {
  Lookup lookup;
  lookup.write("home/.kube/config", "https://home");
  CHECK(lookup.load()->server == "https://home:443");
  lookup.enter_cluster();
  CHECK(lookup.load()->server == "https://10.96.0.1:443");
  lookup.variables["KUBECONFIG"] = lookup.write("env", "https://env");
  CHECK(lookup.load()->server == "https://env:443");
  CHECK(lookup.load(lookup.write("flag", "https://flag"))->server == "https://flag:443");
}

TEST_CASE("who names a context does not mean the pod's ServiceAccount, which has none") {
  Lookup lookup;
  lookup.enter_cluster();
  CHECK(error_of(lookup.load({}, "c")).find("the pod's ServiceAccount has no contexts") != std::string::npos);
  lookup.write("home/.kube/config", "https://home");
  CHECK(lookup.load({}, "c")->server == "https://home:443");
  CHECK(error_of(lookup.load({}, "other")).find("other") != std::string::npos);
}

TEST_CASE("an empty $KUBECONFIG is none, one whose files are all missing leaves only in-cluster") {
  Lookup lookup;
  lookup.write("home/.kube/config", "https://home");
  lookup.variables["KUBECONFIG"] = "";
  CHECK(lookup.load()->server == "https://home:443");
  lookup.variables["KUBECONFIG"] = "/none:/nowhere";
  CHECK(error_of(lookup.load()) ==
        "no kubeconfig: none of the files in $KUBECONFIG exists: /none:/nowhere; "
        "not in a cluster (KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set)");
  lookup.enter_cluster();
  CHECK(lookup.load()->source == "in-cluster");
}

TEST_CASE("with nothing to be found the error says where was looked") {
  const Lookup lookup;
  CHECK(error_of(lookup.load()) ==
        "no kubeconfig: no --kubeconfig, no $KUBECONFIG, no " + (lookup.folder / "home/.kube/config").string() +
            "; not in a cluster (KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set)");
  CHECK(error_of(lookup.load("/none")) == "kubeconfig: /none: No such file or directory");
  CHECK(error_of(lookup.load(lookup.folder.path())).starts_with("kubeconfig: "));
}

TEST_CASE("files of $KUBECONFIG are merged, the first one wins, missing ones are skipped") {
  Lookup lookup;
  const std::string first = lookup.folder.write("a/first",
                                                "clusters: [{name: k, cluster: {server: 'https://first'}}]\n"
                                                "users: [{name: u, user: {tokenFile: token}}]\n");
  lookup.folder.write("a/token", "one");
  const std::string second = lookup.folder.write("b/second", kubeconfig("server: https://second", "token: two"));
  const std::string third = lookup.folder.write("c/third", "current-context: other");
  lookup.variables["KUBECONFIG"] = "/none::" + first + ":" + first + ":" + second + ":" + third;
  const auto config = lookup.load();
  REQUIRE(config);
  CHECK(config->server == "https://first:443");
  CHECK(config->token_file == (lookup.folder / "a/token"));
  CHECK(config->token.empty());  // nothing of the second file's user
  CHECK(config->source == first + ", " + second + ", " + third + ", context c");
  lookup.folder.write("b/second", "a: [");
  CHECK(error_of(lookup.load()).starts_with("kubeconfig " + second + ": line "));
}

TEST_CASE("in a cluster the service account is used") {
  Lookup lookup;
  lookup.enter_cluster("fd00::1");
  const auto config = lookup.load();
  REQUIRE(config);
  CHECK(config->server == "https://[fd00::1]:443");
  CHECK(config->token_file == (lookup.folder / "sa/token"));
  CHECK(config->ca_file == (lookup.folder / "sa/ca.crt"));
  CHECK(config->ca_pem == ca().certificate_pem());
  CHECK(config->default_namespace == "team");
}

TEST_CASE("in a cluster without a ca.crt the system's roots are trusted, with a damaged one nothing works") {
  Lookup lookup;
  lookup.enter_cluster();
  std::filesystem::remove(lookup.folder / "sa/ca.crt");
  CHECK(lookup.load()->ca_pem.empty());
  lookup.folder.write("sa/ca.crt", "damaged");
  CHECK(error_of(lookup.load())
            .find("in-cluster: " + (lookup.folder / "sa/ca.crt").string() + ": no certificate in it") !=
        std::string::npos);
}

TEST_CASE("in a cluster without a token the home folder is looked at, and the error names both") {
  Lookup lookup;
  lookup.enter_cluster();
  lookup.folder.write("sa/token", " \n");
  CHECK(error_of(lookup.load()).find((lookup.folder / "sa/token").string() + ": no token in it") != std::string::npos);
  lookup.write("home/.kube/config", "https://home");
  CHECK(lookup.load()->server == "https://home:443");
}

TEST_CASE("a service port that is none is an error") {
  Lookup lookup;
  lookup.enter_cluster();
  lookup.variables["KUBERNETES_SERVICE_PORT"] = "x";
  CHECK(error_of(lookup.load()).find("in-cluster: https://10.96.0.1:x: not a URL") != std::string::npos);
}

}  // namespace
}  // namespace sharder::kube
