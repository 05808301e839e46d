#pragma once

#include <chrono>
#include <optional>
#include <stop_token>
#include <string>

#include "base/clock.h"
#include "base/error.h"
#include "kube/access/config.h"

namespace sharder::kube {

// What a plugin returned.
struct ExecCredentials {
  std::string token;
  std::string client_certificate_pem, client_key_pem;
  std::optional<WallTime> expires;
};

// The text of KUBERNETES_EXEC_INFO: an ExecCredential of the plugin's version, with the cluster if it asks for that.
std::string exec_info(const ClusterConfig& config);

// How a run of a plugin ended.
struct PluginRun {
  Result<ExecCredentials> credentials;
  // Of a failed run: the last line of standard error. Plugins write there what they like, so it goes into our log
  // (client-go passes it on to its own standard error) and into no status, Event or endpoint.
  std::string last_words;
};

// Reads what a plugin wrote to standard output, and quotes none of it. kInvalid: "no status in it", ...
Result<ExecCredentials> parse_exec_credential(std::string_view text, const std::string& api_version);

// Runs the plugin and waits for it: blocks up to `timeout`, then kills it with all it started. It gets no standard
// input. Errors name the command, its exit code and the install hint. kCancelled when `stop` is requested.
PluginRun run_exec_plugin(const ExecPlugin& plugin, const std::string& info, std::chrono::milliseconds timeout,
                          const std::stop_token& stop);

}  // namespace sharder::kube
