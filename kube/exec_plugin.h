#pragma once

#include <chrono>
#include <optional>
#include <stop_token>
#include <string>

#include "base/clock.h"
#include "base/error.h"
#include "kube/config.h"

namespace sharder::kube {

// What a plugin returned.
struct ExecCredentials {
  std::string token;
  std::string client_certificate_pem, client_key_pem;
  std::optional<WallTime> expires;
};

// The text of KUBERNETES_EXEC_INFO: an ExecCredential of the plugin's version, with the cluster when it asks for it.
std::string exec_info(const ClusterConfig& config);

// Reads what a plugin wrote to standard output. kInvalid: "no status in it", ...
Result<ExecCredentials> parse_exec_credential(std::string_view text, const std::string& api_version);

// Runs the plugin and waits for it: blocks up to `timeout`, then kills it with all it started. It gets no standard
// input. Errors name the command, its exit code, the last line of its standard error and the install hint.
// kCancelled when `stop` is requested.
Result<ExecCredentials> run_exec_plugin(const ExecPlugin& plugin, const std::string& info,
                                        std::chrono::milliseconds timeout, const std::stop_token& stop);

}  // namespace sharder::kube
