#include "kube/access/kubeconfig.h"

#include <algorithm>
#include <deque>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <ranges>
#include <set>
#include <utility>
#include <vector>

#include "base/base64.h"
#include "base/read_file.h"
#include "kube/access/server_url.h"
#include "kube/access/token_file.h"
#include "kube/codec/pem.h"
#include "kube/codec/yaml.h"

namespace sharder::kube {

namespace {

using nlohmann::json;

constexpr std::string_view kExecExtension = "client.authentication.k8s.io/exec";
// How many names an error lists.
constexpr std::size_t kMaxListed = 20;

// The fields of a kubeconfig and their types. client-go decodes it into Go's structs, and one value of a wrong type
// makes the whole file invalid, even in an entry that nobody uses. Unknown fields are ignored.
struct Shape {
  enum class Type { kText, kFlag, kBytes, kTexts, kTextMap, kTextsMap, kMap, kList, kNamed, kAnything };
  std::string_view name;
  Type type = Type::kText;
  std::span<const Shape> fields = {};  // of a map, and of each map in a list; in a kNamed list names must differ
};

constexpr Shape kExtension[] = {{"name"}, {"extension", Shape::Type::kAnything}};
constexpr Shape kCluster[] = {{"server"},
                              {"tls-server-name"},
                              {"insecure-skip-tls-verify", Shape::Type::kFlag},
                              {"certificate-authority"},
                              {"certificate-authority-data", Shape::Type::kBytes},
                              {"proxy-url"},
                              {"disable-compression", Shape::Type::kFlag},
                              {"extensions", Shape::Type::kNamed, kExtension}};
constexpr Shape kVariable[] = {{"name"}, {"value"}};
constexpr Shape kExec[] = {{"command"},
                           {"args", Shape::Type::kTexts},
                           {"env", Shape::Type::kList, kVariable},
                           {"apiVersion"},
                           {"installHint"},
                           {"provideClusterInfo", Shape::Type::kFlag},
                           {"interactiveMode"}};
constexpr Shape kAuthProvider[] = {{"name"}, {"config", Shape::Type::kTextMap}};
constexpr Shape kUser[] = {{"client-certificate"},
                           {"client-certificate-data", Shape::Type::kBytes},
                           {"client-key"},
                           {"client-key-data", Shape::Type::kBytes},
                           {"token"},
                           {"tokenFile"},
                           {"as"},
                           {"as-uid"},
                           {"as-groups", Shape::Type::kTexts},
                           {"as-user-extra", Shape::Type::kTextsMap},
                           {"username"},
                           {"password"},
                           {"auth-provider", Shape::Type::kMap, kAuthProvider},
                           {"exec", Shape::Type::kMap, kExec},
                           {"extensions", Shape::Type::kNamed, kExtension}};
constexpr Shape kContext[] = {{"cluster"}, {"user"}, {"namespace"}, {"extensions", Shape::Type::kNamed, kExtension}};
constexpr Shape kNamedCluster[] = {{"name"}, {"cluster", Shape::Type::kMap, kCluster}};
constexpr Shape kNamedUser[] = {{"name"}, {"user", Shape::Type::kMap, kUser}};
constexpr Shape kNamedContext[] = {{"name"}, {"context", Shape::Type::kMap, kContext}};
constexpr Shape kPreferences[] = {{"colors", Shape::Type::kFlag}, {"extensions", Shape::Type::kNamed, kExtension}};
constexpr Shape kConfig[] = {{"kind"},
                             {"apiVersion"},
                             {"preferences", Shape::Type::kMap, kPreferences},
                             {"clusters", Shape::Type::kNamed, kNamedCluster},
                             {"users", Shape::Type::kNamed, kNamedUser},
                             {"contexts", Shape::Type::kNamed, kNamedContext},
                             {"current-context"},
                             {"extensions", Shape::Type::kNamed, kExtension}};

[[noreturn]] void reject(const std::string& where, const std::string& why) {
  throw Error{.code = ErrorCode::kInvalid, .message = where + ": " + why};
}

// A part of a kubeconfig (null when it is absent) and its path. Messages hold the path, never a value, which may be a
// secret. reject() throws Error, so that a field is read in one expression. resolve_kubeconfig() turns it into a
// Result.
class Field {
 public:
  Field(const json& value, std::string where) : value_(&value), where_(std::move(where)) {}

  [[noreturn]] void reject(const std::string& why) const { kube::reject(where_, why); }
  // Calls reject() unless it has the types of `shape`. The readers below rely on that.
  void check(const Shape& shape) const;

  bool absent() const { return value_->is_null(); }
  const json& value() const { return *value_; }
  Field at(const std::string& key) const {
    static const json none;
    const auto found = value_->find(key);
    return {found == value_->end() ? none : *found, where_ + (where_.ends_with(": ") ? "" : ".") + key};
  }
  std::string text() const { return absent() ? "" : value_->get<std::string>(); }
  std::string text(const std::string& key) const { return at(key).text(); }
  bool flag(const std::string& key) const { return at(key).value() == json(true); }
  std::vector<Field> list() const {
    std::vector<Field> items;
    for (const json& item : *value_) {
      items.emplace_back(item, where_ + "[" + std::to_string(items.size()) + "]");
    }
    return items;
  }
  std::vector<std::string> texts(const std::string& key) const {
    std::vector<std::string> result;
    for (const Field& item : at(key).list()) {
      result.push_back(item.text());
    }
    return result;
  }
  // The same field, with `more` behind its path in messages.
  Field named(const std::string& more) const { return {*value_, where_ + more}; }

 private:
  void require(bool right, const char* wanted) const {
    if (!right) {
      reject(std::string("must be ") + wanted);
    }
  }
  void check_items(const Shape& item) const;
  void check_names() const;

  const json* value_;  // of a document that outlives us
  std::string where_;  // "kubeconfig /a/b: users[0].user"
};

void Field::check(const Shape& shape) const {
  if (absent()) {
    return;
  }
  switch (shape.type) {
    case Shape::Type::kText:
    case Shape::Type::kBytes:
      require(value_->is_string(), value_->is_primitive() ? "a string: put it in quotes" : "a string");
      if (shape.type == Shape::Type::kBytes && !decode_base64(text())) {
        reject("not valid base64");
      }
      break;
    case Shape::Type::kFlag:
      require(value_->is_boolean(), "true or false");
      break;
    case Shape::Type::kTextMap:
    case Shape::Type::kTextsMap:
      require(value_->is_object(), "a map");
      check_items({.name = {}, .type = shape.type == Shape::Type::kTextMap ? Shape::Type::kText : Shape::Type::kTexts});
      break;
    case Shape::Type::kMap:
      require(value_->is_object(), "a map");
      for (const Shape& field : shape.fields) {
        at(std::string(field.name)).check(field);
      }
      break;
    case Shape::Type::kTexts:
      require(value_->is_array(), "a list");
      check_items({});
      break;
    case Shape::Type::kList:
    case Shape::Type::kNamed:
      require(value_->is_array(), "a list");
      check_items({.name = {}, .type = Shape::Type::kMap, .fields = shape.fields});
      if (shape.type == Shape::Type::kNamed) {
        check_names();
      }
      break;
    case Shape::Type::kAnything:
      break;
  }
}

void Field::check_items(const Shape& item) const {
  if (value_->is_array()) {
    std::ranges::for_each(list(), [&](const Field& field) { field.check(item); });
    return;
  }
  for (const json& value : *value_) {
    Field(value, where_).check(item);  // keys may be any text: they stay out of messages
  }
}

void Field::check_names() const {
  std::set<std::string> names;
  for (const Field& item : list()) {
    if (!names.insert(item.text("name")).second) {
      item.at("name").reject("an earlier entry has the same name");
    }
  }
}

struct Entry {
  std::string name;
  Field body;
  std::string folder;
};

struct Merged {
  std::string files = "kubeconfig";  // "kubeconfig /a, /b", for messages
  std::string current_context;
  std::vector<Entry> clusters, users, contexts;
  std::deque<json> documents;  // what the entries point into
};

json load(const KubeconfigText& file, const std::string& where) {
  if (file.text.size() > kMaxKubeconfigBytes) {
    reject(where, "larger than " + std::to_string(kMaxKubeconfigBytes >> 20U) + " MiB");
  }
  auto document = parse_yaml(file.text);
  if (!document) {
    reject(where, document.error().message);
  }
  return std::move(document->value);
}

// Adds the entries of one file whose names no earlier file had.
void merge_entries(const Field& root, const std::string& list, const std::string& what, const std::string& folder,
                   std::vector<Entry>& into) {
  const auto earlier = into | std::views::transform(&Entry::name);
  const std::set<std::string> taken(earlier.begin(), earlier.end());
  for (const Field& item : root.at(list).list()) {
    const std::string name = item.text("name");
    if (!taken.contains(name)) {
      into.push_back({name, item.at(what), folder});
    }
  }
}

void merge_file(const KubeconfigText& file, Merged& merged) {
  const std::string where = file.file.empty() ? "kubeconfig" : "kubeconfig " + file.file;
  const json& document = merged.documents.emplace_back(load(file, where));
  if (document.is_null()) {
    return;  // an empty file
  }
  if (!document.is_object()) {
    reject(where, "not a kubeconfig: must be a map");
  }
  const Field root(document, where + ": ");
  root.check({.name = {}, .type = Shape::Type::kMap, .fields = kConfig});
  if (const std::string kind = root.text("kind"); !kind.empty() && kind != "Config") {
    reject(where, "not a kubeconfig: its kind is not Config");
  }
  if (const std::string version = root.text("apiVersion"); !version.empty() && version != "v1") {
    reject(where, "not a kubeconfig: its apiVersion is not v1");
  }
  if (merged.current_context.empty()) {
    merged.current_context = root.text("current-context");
  }
  merge_entries(root, "clusters", "cluster", file.folder, merged.clusters);
  merge_entries(root, "users", "user", file.folder, merged.users);
  merge_entries(root, "contexts", "context", file.folder, merged.contexts);
}

Merged merge(std::span<const KubeconfigText> files) {
  Merged merged;
  const char* separator = " ";
  for (const KubeconfigText& file : files) {
    if (!file.file.empty()) {
      merged.files += std::exchange(separator, ", ") + file.file;
    }
    merge_file(file, merged);
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

// The error for a file that a field names and that cannot be used. It does not show the name, because somebody may have
// pasted a secret there.
[[noreturn]] void reject_file(const Entry& entry, const std::string& key, const std::string& file, Error error) {
  if (error.message.starts_with(file + ": ")) {
    error.message.erase(0, file.size() + 2);
  }
  const bool relative = !entry.body.text(key).starts_with('/');
  entry.body.at(key).reject(error.message + (relative ? " (relative to " + entry.folder + ")" : ""));
}

// `key`-data (base64) or the file that `key` names. Both empty when neither is there.
struct Content {
  std::string text, file;
};
Content content(const Entry& entry, const std::string& key) {
  const std::string data = entry.body.text(key + "-data");
  const std::string file = absolute(entry.body.text(key), entry.folder);
  if (!data.empty() && !file.empty()) {
    entry.body.at(key).reject("not allowed together with " + key + "-data");
  }
  if (!data.empty() || file.empty()) {
    return {decode_base64(data).value(), {}};
  }
  auto text = read_file(file);
  if (!text) {
    reject_file(entry, key, file, std::move(text.error()));
  }
  return {*std::move(text), file};
}

// The error for a content. It names the file, or the -data field.
[[noreturn]] void reject(const Field& field, const Content& found, const Error& error) {
  const bool data = found.file.empty();
  field.named(data ? "-data" : "").reject((data ? "" : found.file + ": ") + error.message);
}

void check(const Field& field, const Content& found, const Result<void>& result) {
  if (!result) {
    reject(field, found, result.error());
  }
}

std::string cluster_extension(const Field& cluster) {
  for (const Field& item : cluster.at("extensions").list()) {
    if (item.text("name") == kExecExtension) {
      return item.at("extension").value().dump();
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
    if (const auto bundle = read_ca_bundle(authority.text); !bundle) {
      reject(cluster.at("certificate-authority"), authority, bundle.error());
    }
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
  for (const Field& item : exec.at("env").list()) {
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
    // The token counts as long as the file has none, as in client-go.
    if (auto token = read_token(config.token_file); !token && config.token.empty()) {
      reject_file(entry, "tokenFile", config.token_file, std::move(token.error()));
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
  for (const auto& entry : extra.value().items()) {
    for (std::string& text : extra.texts(entry.key())) {
      config.impersonate_extra.emplace_back(entry.key(), std::move(text));
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

// client-go sends no credentials over a connection that anybody can read.
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
  }
}

}  // namespace sharder::kube
