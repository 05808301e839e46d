#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/executor.h"
#include "base/lifetime.h"
#include "base/log.h"
#include "kube/access/config.h"
#include "kube/access/exec_plugin.h"

namespace sharder::kube {

// Who we are, for one request: an immutable value.
struct Credentials {
  std::string authorization;  // the header's value, "" for none
  std::string client_certificate_pem, client_key_pem;
  bool operator==(const Credentials&) const = default;
};

// The current credentials of a ClusterConfig: a token file is read again every minute and after a 401 (the kubelet
// rotates it), a plugin runs again when its credentials expire and after a 401. Lives on the API loop; plugins run on a
// thread of their own, one at a time. Files are read on the loop: they are small and local.
class CredentialSource {
 public:
  using Current = std::shared_ptr<const Credentials>;
  using Callback = std::move_only_function<void(Result<Current>)>;

  static constexpr std::chrono::seconds kTokenFileAge{60};
  static constexpr std::chrono::seconds kPluginTimeout{60};
  // After a failure the plugin is not run for so long; requests get the same error meanwhile.
  static constexpr std::chrono::seconds kPluginRetry{2};
  // A 401 runs the plugin again at most this often: its credentials may get a 401 each time.
  static constexpr std::chrono::seconds kPluginRenewal{10};

  // `config`, `clock` and `loop` outlive it.
  CredentialSource(const ClusterConfig& config, const Clock& clock, Executor& loop, Logger log);
  // Kills a plugin that runs; its callbacks are dropped.
  ~CredentialSource();

  // Calls back with the credentials that are valid now: at once, or when the plugin has run.
  void get(Callback callback);
  // The server answered `used` with a 401: calls back with newer ones, or with the same when there are none.
  void renew(const Current& used, Callback callback);

 private:
  void read_token_file();
  bool plugin_due() const;
  void run_plugin(Callback callback);
  void on_plugin_done(PluginRun run);
  void use(ExecCredentials credentials);

  const ClusterConfig& config_;
  const Clock& clock_;
  Executor& loop_;
  Logger log_;
  Current current_;  // null: the plugin has not returned any yet
  SteadyTime read_at_ = SteadyTime::min();
  std::string logged_error_;  // the last error that was logged, while it lasts
  // Of the plugin:
  std::optional<WallTime> expires_;
  std::optional<SteadyTime> ran_at_;  // when it last ended
  std::optional<Error> failure_;      // of the last run
  bool running_ = false;
  std::vector<Callback> waiting_;
  Lifetime lifetime_;
  std::jthread thread_;
};

}  // namespace sharder::kube
