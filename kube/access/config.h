#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"

namespace sharder::kube {

// A client-go credential plugin (kubeconfig users[].user.exec).
struct ExecPlugin {
  std::string command;  // a relative path is relative to the kubeconfig's folder, a bare name is looked up in PATH
  std::vector<std::string> args;
  std::vector<std::pair<std::string, std::string>> env;  // added to ours
  std::string api_version;                               // client.authentication.k8s.io/v1 or v1beta1
  std::string install_hint;
  bool provide_cluster_info = false;
  // JSON for the plugin, from the cluster's extension client.authentication.k8s.io/exec; "" for none.
  std::string cluster_extension;
};

// How to reach an API server and who we are there: a plain value.
struct ClusterConfig {
  std::string server;   // "https://10.0.0.1:443", a path prefix allowed
  std::string ca_pem;   // trusted roots; "" with ca_file "": the system's
  std::string ca_file;  // where ca_pem is from: read again when it changes
  bool insecure_skip_tls_verify = false;
  std::string tls_server_name;  // expected in the certificate instead of the host
  std::string proxy_url;        // "": HTTPS_PROXY / NO_PROXY of the environment

  std::string client_certificate_pem, client_key_pem;
  std::string client_certificate_file, client_key_file;  // where they are from: read again when they change
  std::string token;
  std::string token_file;  // wins over token; read again every minute and after a 401
  std::string username, password;
  std::optional<ExecPlugin> exec;  // not used if there is a token, user name or client certificate, as in client-go
  std::string impersonate_user;
  std::string impersonate_uid;
  std::vector<std::string> impersonate_groups;
  std::vector<std::pair<std::string, std::string>> impersonate_extra;

  std::string source;  // where it came from, for messages: "~/.kube/config, context kind" or "in-cluster"
  std::string default_namespace = "default";
};

// Where to look, in controller-runtime's order: flag, $KUBECONFIG (a list, merged), in-cluster, ~/.kube/config.
struct ConfigSources {
  std::string kubeconfig_flag = {};
  std::string context = {};  // "" for the file's current-context; else in-cluster is not meant
  std::function<std::optional<std::string>(const std::string& name)> environment = {};  // default: the process's
  std::string service_account_dir = "/var/run/secrets/kubernetes.io/serviceaccount";
  std::string home_dir = {};  // default: $HOME
};

// kInvalid: names the file and what is wrong with it.
Result<ClusterConfig> load_config(const ConfigSources& sources);

}  // namespace sharder::kube
