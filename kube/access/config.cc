#include "kube/access/config.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <vector>

#include "base/read_file.h"
#include "kube/access/kubeconfig.h"
#include "kube/access/server_url.h"
#include "kube/access/token_file.h"
#include "kube/codec/pem.h"

namespace sharder::kube {

namespace {

std::string variable(const ConfigSources& sources, const std::string& name) {
  if (sources.environment) {
    return sources.environment(name).value_or("");
  }
  const char* const value = std::getenv(name.c_str());
  return value == nullptr ? "" : value;
}

bool file_exists(const std::string& file) {
  std::error_code ignored;
  return std::filesystem::exists(file, ignored);
}

std::string folder_of(const std::string& file) {
  return std::filesystem::absolute(file).parent_path();
}

Result<KubeconfigText> read_kubeconfig(const std::string& file) {
  auto text = read_file(file, kMaxKubeconfigBytes);
  if (!text) {
    return fail("kubeconfig", std::move(text.error()));
  }
  return KubeconfigText{.file = file, .folder = folder_of(file), .text = *std::move(text)};
}

Result<ClusterConfig> from_file(const std::string& file, const std::string& context) {
  const auto text = read_kubeconfig(file);
  if (!text) {
    return std::unexpected(text.error());
  }
  return resolve_kubeconfig(std::span(&*text, 1), context);
}

// $KUBECONFIG: paths separated by colons. Empty ones, repeated ones and missing files are skipped, as in client-go.
std::vector<std::string> existing_files(std::string_view list) {
  std::vector<std::string> files;
  while (!list.empty()) {
    const auto colon = std::min(list.find(':'), list.size());
    const std::string file(list.substr(0, colon));
    if (!file.empty() && std::ranges::find(files, file) == files.end() && file_exists(file)) {
      files.push_back(file);
    }
    list.remove_prefix(std::min(colon + 1, list.size()));
  }
  return files;
}

Result<ClusterConfig> from_files(const std::vector<std::string>& files, const std::string& context) {
  std::vector<KubeconfigText> texts;
  for (const std::string& file : files) {
    auto text = read_kubeconfig(file);
    if (!text) {
      return std::unexpected(std::move(text.error()));
    }
    texts.push_back(*std::move(text));
  }
  return resolve_kubeconfig(texts, context);
}

// The service account of the pod we run in.
Result<ClusterConfig> in_cluster(const ConfigSources& sources) {
  if (!sources.context.empty()) {
    return fail(ErrorCode::kInvalid, "the pod's ServiceAccount has no contexts");
  }
  const std::string host = variable(sources, "KUBERNETES_SERVICE_HOST");
  const std::string port = variable(sources, "KUBERNETES_SERVICE_PORT");
  if (host.empty() || port.empty()) {
    return fail(ErrorCode::kInvalid,
                "not in a cluster (KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set)");
  }
  ClusterConfig config;
  config.source = "in-cluster";
  const bool bare_v6 = host.find(':') != std::string::npos && !host.starts_with('[');
  config.server = "https://" + (bare_v6 ? "[" + host + "]" : host) + ":" + port;
  if (const auto url = parse_server_url(config.server); !url) {
    return fail("in-cluster: " + config.server, url.error());
  }
  config.token_file = sources.service_account_dir + "/token";
  if (const auto token = read_token(config.token_file); !token) {
    return fail("in-cluster", token.error());
  }
  // Without a ca.crt the system's roots are trusted, as in client-go: some clusters have a public certificate.
  if (const std::string authority = sources.service_account_dir + "/ca.crt"; file_exists(authority)) {
    auto pem = read_file(authority);
    if (!pem) {
      return fail("in-cluster", std::move(pem.error()));
    }
    if (const auto checked = check_certificates(*pem); !checked) {
      return fail("in-cluster: " + authority, checked.error());
    }
    config.ca_file = authority;
    config.ca_pem = *std::move(pem);
  }
  if (const auto name = read_token(sources.service_account_dir + "/namespace"); name) {
    config.default_namespace = *name;
  }
  return config;
}

}  // namespace

Result<ClusterConfig> load_config(const ConfigSources& sources) {
  if (!sources.kubeconfig_flag.empty()) {
    return from_file(sources.kubeconfig_flag, sources.context);
  }
  const std::string listed = variable(sources, "KUBECONFIG");
  if (const auto files = existing_files(listed); !files.empty()) {
    return from_files(files, sources.context);
  }
  auto inside = in_cluster(sources);
  if (inside) {
    return inside;
  }
  if (!listed.empty()) {  // ~/.kube/config is not looked for when $KUBECONFIG is set
    return fail(ErrorCode::kInvalid,
                "no kubeconfig: none of the files in $KUBECONFIG exists: " + listed + "; " + inside.error().message);
  }
  const std::string home = sources.home_dir.empty() ? variable(sources, "HOME") : sources.home_dir;
  const std::string file = home + "/.kube/config";
  if (home.empty() || !file_exists(file)) {
    return fail(ErrorCode::kInvalid, "no kubeconfig: no --kubeconfig, no $KUBECONFIG, no " +
                                         (home.empty() ? "home directory" : file) + "; " + inside.error().message);
  }
  return from_file(file, sources.context);
}

}  // namespace sharder::kube
