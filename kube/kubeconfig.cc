#include "kube/kubeconfig.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <ranges>
#include <set>
#include <utility>
#include <vector>

#include "base/read_file.h"
#include "kube/pem.h"
#include "kube/server_url.h"
#include "kube/token_file.h"

namespace sharder::kube {

namespace {

constexpr std::string_view kExecExtension = "client.authentication.k8s.io/exec";
// Of a cluster's extension for the plugin; aliases may make a small text a huge tree.
constexpr int kMaxExtensionNodes = 10'000;
constexpr int kMaxExtensionDepth = 32;
// yaml-cpp descends with the text: brackets in brackets must not use up the stack.
constexpr int kMaxDepth = 64;
// Of the names that an error lists.
constexpr std::size_t kMaxListed = 20;

// A part of a kubeconfig and where it stands. The readers below throw Error, which resolve_kubeconfig() turns into a
// Result: a field is read in one expression, and yaml-cpp throws anyhow.
struct Field {
  YAML::Node node;
  std::string where;  // "kubeconfig /a/b: users[0].user"

  [[noreturn]] void reject(const std::string& why) const {
    throw Error{.code = ErrorCode::kInvalid, .message = where + ": " + why};
  }
  bool absent() const { return !node.IsDefined() || node.IsNull(); }
  Field at(const std::string& key) const {
    const std::string inner = where + (where.ends_with(": ") ? "" : ".") + key;
    if (absent()) {
      return {YAML::Node(YAML::NodeType::Undefined), inner};
    }
    if (!node.IsMap()) {
      reject("must be a map");
    }
    return {node[key], inner};
  }
  std::string text(const std::string& key) const {
    const Field value = at(key);
    if (value.absent()) {
      return {};
    }
    if (!value.node.IsScalar()) {
      value.reject("must be a string");
    }
    return value.node.Scalar();
  }
  bool flag(const std::string& key) const {
    const Field value = at(key);
    bool result = false;
    if (!value.absent() && (!value.node.IsScalar() || !YAML::convert<bool>::decode(value.node, result))) {
      value.reject("must be true or false");
    }
    return result;
  }
  std::vector<Field> list(const std::string& key) const {
    const Field value = at(key);
    std::vector<Field> items;
    if (value.absent()) {
      return items;
    }
    if (!value.node.IsSequence()) {
      value.reject("must be a list");
    }
    for (const YAML::Node& item : value.node) {
      items.push_back({item, value.where + "[" + std::to_string(items.size()) + "]"});
    }
    return items;
  }
  std::vector<std::string> texts(const std::string& key) const {
    std::vector<std::string> result;
    for (const Field& item : list(key)) {
      if (!item.node.IsScalar()) {
        item.reject("must be a string");
      }
      result.push_back(item.node.Scalar());
    }
    return result;
  }
};

struct Entry {
  std::string name;
  Field body;
  std::string folder;
};

struct Merged {
  std::string files;  // "kubeconfig /a, /b", for messages
  std::string current_context;
  std::vector<Entry> clusters, users, contexts;
  std::set<std::string> names;  // "users/a": what is there already
};

// Brackets and indentation deeper than any kubeconfig's. Generous: text in quotes counts as well.
bool too_deep(std::string_view text) {
  int open = 0;
  int dashes = 0;  // "- - - -" nests without brackets
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool ends_word = i + 1 == text.size() || text[i + 1] == ' ' || text[i + 1] == '\n';
    if (c == '[' || c == '{') {
      ++open;
    } else if ((c == ']' || c == '}') && open > 0) {
      --open;
    } else if (ends_word && (c == '-' || c == '?' || c == ':')) {
      ++dashes;
    } else if (c != ' ' && c != '-') {
      dashes = 0;
    }
    if (open > kMaxDepth || dashes > kMaxDepth) {
      return true;
    }
  }
  return false;
}

YAML::Node load(const KubeconfigText& file, const std::string& where) {
  const Field whole{YAML::Node(), where};
  if (file.text.size() > kMaxKubeconfigBytes) {
    whole.reject("larger than " + std::to_string(kMaxKubeconfigBytes >> 20U) + " MiB");
  }
  if (too_deep(file.text)) {
    whole.reject("nested too deeply");
  }
  try {
    return YAML::Load(file.text);
  } catch (const YAML::Exception& error) {
    whole.reject("line " + std::to_string(error.mark.line + 1) + ": not valid YAML");
  }
}

void merge_entries(const Field& root, const std::string& list, const std::string& what, const std::string& folder,
                   std::vector<Entry>& into, std::set<std::string>& names) {
  for (const Field& item : root.list(list)) {
    const std::string name = item.text("name");
    if (names.insert(std::string(list).append("/").append(name)).second) {
      into.push_back({name, item.at(what), folder});
    }
  }
}

Merged merge(std::span<const KubeconfigText> files) {
  Merged merged{.files = "kubeconfig", .current_context = {}, .clusters = {}, .users = {}, .contexts = {}, .names = {}};
  const char* separator = " ";
  for (const KubeconfigText& file : files) {
    const std::string where = file.file.empty() ? "kubeconfig" : "kubeconfig " + file.file;
    if (!file.file.empty()) {
      merged.files += std::exchange(separator, ", ") + file.file;
    }
    const YAML::Node node = load(file, where);
    if (!node.IsDefined() || node.IsNull()) {
      continue;  // an empty file
    }
    if (!node.IsMap()) {
      Field{node, where}.reject("not a kubeconfig: must be a map");
    }
    const Field root{node, where + ": "};
    const std::string kind = root.text("kind");
    if (!kind.empty() && kind != "Config") {
      Field{node, where}.reject("not a kubeconfig: kind is " + kind);
    }
    if (merged.current_context.empty()) {
      merged.current_context = root.text("current-context");
    }
    merge_entries(root, "clusters", "cluster", file.folder, merged.clusters, merged.names);
    merge_entries(root, "users", "user", file.folder, merged.users, merged.names);
    merge_entries(root, "contexts", "context", file.folder, merged.contexts, merged.names);
  }
  return merged;
}

const Entry& find(const Merged& merged, const std::vector<Entry>& entries, const std::string& what,
                  const std::string& name) {
  const auto found = std::ranges::find(entries, name, &Entry::name);
  if (found != entries.end()) {
    return *found;
  }
  std::string known;
  for (const Entry& entry : entries | std::views::take(kMaxListed)) {
    known += (known.empty() ? "" : ", ") + entry.name;
  }
  known += entries.size() > kMaxListed ? ", ..." : "";
  const std::string hint = known.empty() ? "; there are none" : "; known: " + known;
  throw Error{.code = ErrorCode::kInvalid,
              .message = merged.files + ": " + what + " \"" + name + "\" does not exist" + hint};
}

std::string absolute(const std::string& path, const std::string& folder) {
  if (path.empty() || path.starts_with('/')) {
    return path;
  }
  return (std::filesystem::path(folder) / path).lexically_normal();
}

// `key`-data (base64) or the file that `key` names; the data wins. Both empty when neither is there.
struct Content {
  std::string text, file;
};
Content content(const Entry& entry, const std::string& key) {
  if (const std::string data = entry.body.text(key + "-data"); !data.empty()) {
    auto decoded = decode_base64(data);
    if (!decoded) {
      entry.body.at(key + "-data").reject(decoded.error().message);
    }
    return {*std::move(decoded), {}};
  }
  const std::string file = absolute(entry.body.text(key), entry.folder);
  if (file.empty()) {
    return {};
  }
  auto text = read_file(file);
  if (!text) {
    entry.body.at(key).reject(text.error().message);
  }
  return {*std::move(text), file};
}

// Rejects what was found wrong with a content: its file, or the -data field.
void check(const Field& field, const Content& found, const Result<void>& result) {
  if (!result) {
    const Field place{field.node, field.where + (found.file.empty() ? "-data" : "")};
    place.reject((found.file.empty() ? "" : found.file + ": ") + result.error().message);
  }
}

// The plugin's own configuration, as JSON. Scalars without quotes become numbers and booleans, as YAML says.
nlohmann::json to_json(const Field& field, int& nodes_left, int depth) {
  if (--nodes_left < 0 || depth > kMaxExtensionDepth) {
    field.reject("too large");
  }
  if (field.absent()) {
    return nullptr;
  }
  if (field.node.IsSequence()) {
    auto list = nlohmann::json::array();
    for (const YAML::Node& item : field.node) {
      list.push_back(to_json({item, field.where}, nodes_left, depth + 1));
    }
    return list;
  }
  if (field.node.IsMap()) {
    auto map = nlohmann::json::object();
    for (const auto& pair : field.node) {
      if (!pair.first.IsScalar()) {
        field.reject("keys must be strings");
      }
      map[pair.first.Scalar()] = to_json({pair.second, field.where}, nodes_left, depth + 1);
    }
    return map;
  }
  const bool quoted = field.node.Tag() == "!";
  bool flag = false;
  std::int64_t number = 0;
  double real = 0;
  if (!quoted && YAML::convert<bool>::decode(field.node, flag)) {
    return flag;
  }
  if (!quoted && YAML::convert<std::int64_t>::decode(field.node, number)) {
    return number;
  }
  if (!quoted && YAML::convert<double>::decode(field.node, real) && std::isfinite(real)) {
    return real;
  }
  return field.node.Scalar();
}

std::string cluster_extension(const Field& cluster) {
  for (const Field& item : cluster.list("extensions")) {
    if (item.text("name") == kExecExtension) {
      int nodes_left = kMaxExtensionNodes;
      return to_json(item.at("extension"), nodes_left, 0)
          .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    }
  }
  return {};
}

void read_cluster(const Entry& entry, bool shows_certificate, ClusterConfig& config) {
  const Field& cluster = entry.body;
  const std::string server = cluster.text("server");
  if (server.empty()) {
    cluster.at("server").reject("missing");
  }
  config.tls_server_name = cluster.text("tls-server-name");
  config.insecure_skip_tls_verify = cluster.flag("insecure-skip-tls-verify");
  Content authority = content(entry, "certificate-authority");
  if (!authority.text.empty()) {
    if (config.insecure_skip_tls_verify) {
      cluster.at("insecure-skip-tls-verify").reject("not allowed together with a certificate-authority");
    }
    check(cluster.at("certificate-authority"), authority, check_certificates(authority.text));
  }
  const bool tls = !authority.text.empty() || config.insecure_skip_tls_verify || shows_certificate;
  const auto url = parse_server_url(server, tls ? "https" : "http");
  if (!url) {
    cluster.at("server").reject(url.error().message);
  }
  config.server = url->text();
  config.ca_pem = std::move(authority.text);
  config.ca_file = std::move(authority.file);
  config.proxy_url = cluster.text("proxy-url");
  if (!config.proxy_url.empty()) {
    if (const auto proxy = parse_proxy_url(config.proxy_url); !proxy) {
      cluster.at("proxy-url").reject(proxy.error().message);
    }
  }
}

ExecPlugin read_exec(const Entry& user) {
  const Field exec = user.body.at("exec");
  ExecPlugin plugin{.command = exec.text("command"),
                    .args = exec.texts("args"),
                    .env = {},
                    .api_version = exec.text("apiVersion"),
                    .install_hint = exec.text("installHint"),
                    .provide_cluster_info = exec.flag("provideClusterInfo"),
                    .cluster_extension = {}};
  if (plugin.command.empty()) {
    exec.at("command").reject("missing");
  }
  if (plugin.command.find('/') != std::string::npos) {
    plugin.command = absolute(plugin.command, user.folder);
  }
  if (plugin.api_version != "client.authentication.k8s.io/v1" &&
      plugin.api_version != "client.authentication.k8s.io/v1beta1") {
    exec.at("apiVersion").reject("must be client.authentication.k8s.io/v1 or client.authentication.k8s.io/v1beta1");
  }
  for (const Field& item : exec.list("env")) {
    plugin.env.emplace_back(item.text("name"), item.text("value"));
    const std::string& name = plugin.env.back().first;
    if (name.empty() || name.find_first_of(std::string_view("=\0", 2)) != std::string::npos) {
      item.at("name").reject("not a name of an environment variable");
    }
  }
  const std::string mode = exec.text("interactiveMode");
  if (mode == "Always") {
    exec.at("interactiveMode").reject("Always is not possible: there is no terminal here");
  }
  const bool old = plugin.api_version.ends_with("v1beta1");  // there IfAvailable is the default
  if (mode != "Never" && mode != "IfAvailable" && !(old && mode.empty())) {
    exec.at("interactiveMode").reject("must be Never or IfAvailable");
  }
  return plugin;
}

void read_client_certificate(const Entry& entry, ClusterConfig& config) {
  Content certificate = content(entry, "client-certificate");
  Content key = content(entry, "client-key");
  if (certificate.text.empty()) {
    return;  // as in client-go: a key alone means nothing
  }
  if (key.text.empty()) {
    entry.body.reject("client-certificate without client-key");
  }
  check(entry.body.at("client-certificate"), certificate, check_certificates(certificate.text));
  check(entry.body.at("client-key"), key, check_key_pair(certificate.text, key.text));
  config.client_certificate_pem = std::move(certificate.text);
  config.client_certificate_file = std::move(certificate.file);
  config.client_key_pem = std::move(key.text);
  config.client_key_file = std::move(key.file);
}

void read_token_fields(const Entry& entry, ClusterConfig& config) {
  const Field& user = entry.body;
  config.token = user.text("token");
  if (!valid_header_value(config.token)) {
    user.at("token").reject("control characters in it");
  }
  config.token_file = absolute(user.text("tokenFile"), entry.folder);
  if (!config.token_file.empty()) {
    if (const auto token = read_token(config.token_file); !token) {
      user.at("tokenFile").reject(token.error().message);
    }
  }
  config.username = user.text("username");
  config.password = user.text("password");
  const bool basic = !config.username.empty() || !config.password.empty();
  if (basic && (!config.token.empty() || !config.token_file.empty())) {
    user.reject("both a token and a user name: only one of them can be used");
  }
}

void read_impersonation(const Field& user, ClusterConfig& config) {
  config.impersonate_user = user.text("as");
  config.impersonate_uid = user.text("as-uid");
  config.impersonate_groups = user.texts("as-groups");
  const Field extra = user.at("as-user-extra");
  if (!extra.absent()) {
    if (!extra.node.IsMap()) {
      extra.reject("must be a map");
    }
    for (const auto& pair : extra.node) {
      if (!pair.first.IsScalar()) {
        extra.reject("keys must be strings");
      }
      for (std::string& text : extra.texts(pair.first.Scalar())) {
        config.impersonate_extra.emplace_back(pair.first.Scalar(), std::move(text));
      }
    }
  }
  const bool more =
      !config.impersonate_uid.empty() || !config.impersonate_groups.empty() || !config.impersonate_extra.empty();
  if (more && config.impersonate_user.empty()) {
    user.at("as").reject("missing: as-uid, as-groups and as-user-extra need it");
  }
}

void read_user(const Entry& entry, ClusterConfig& config) {
  const Field& user = entry.body;
  read_client_certificate(entry, config);
  read_token_fields(entry, config);
  read_impersonation(user, config);
  if (!user.at("auth-provider").absent()) {
    user.at("auth-provider").reject("not supported; use an exec plugin");
  }
  if (!user.at("exec").absent()) {
    ExecPlugin plugin = read_exec(entry);
    if (config.token.empty() && config.token_file.empty() && config.username.empty() && config.password.empty() &&
        config.client_certificate_pem.empty()) {
      config.exec = std::move(plugin);
    }
  }
}

// Over a connection that anybody can read client-go shows no credentials.
void forget_credentials(ClusterConfig& config) {
  config.client_certificate_pem.clear();
  config.client_certificate_file.clear();
  config.client_key_pem.clear();
  config.client_key_file.clear();
  config.token.clear();
  config.token_file.clear();
  config.username.clear();
  config.password.clear();
  config.exec.reset();
}

ClusterConfig resolve(std::span<const KubeconfigText> files, std::string context) {
  const Merged merged = merge(files);
  if (context.empty()) {
    context = merged.current_context;
  }
  if (context.empty()) {
    throw Error{.code = ErrorCode::kInvalid, .message = merged.files + ": no current-context"};
  }
  const Field& chosen = find(merged, merged.contexts, "context", context).body;
  ClusterConfig config;
  config.source = merged.files.substr(std::min(merged.files.size(), std::string_view("kubeconfig ").size()));
  config.source += (config.source.empty() ? "context " : ", context ") + context;
  if (const std::string name = chosen.text("namespace"); !name.empty()) {
    config.default_namespace = name;
  }
  const Entry& cluster = find(merged, merged.clusters, "cluster", chosen.text("cluster"));
  if (const std::string user = chosen.text("user"); !user.empty()) {
    read_user(find(merged, merged.users, "user", user), config);
  }
  read_cluster(cluster, !config.client_certificate_pem.empty(), config);
  if (config.exec) {
    config.exec->cluster_extension = cluster_extension(cluster.body);
  }
  if (config.server.starts_with("http://")) {
    forget_credentials(config);
  }
  return config;
}

}  // namespace

Result<ClusterConfig> resolve_kubeconfig(std::span<const KubeconfigText> files, const std::string& context) {
  try {
    return resolve(files, context);
  } catch (const Error& error) {
    return std::unexpected(error);
  } catch (const YAML::Exception& error) {
    return fail(ErrorCode::kInvalid, "kubeconfig: line " + std::to_string(error.mark.line + 1) + ": not valid YAML");
  }
}

}  // namespace sharder::kube
