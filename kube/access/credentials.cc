#include "kube/access/credentials.h"

#include <utility>

#include "base/base64.h"
#include "kube/access/token_file.h"

namespace sharder::kube {

namespace {

// Credentials that expire so soon are renewed before they are used: the request takes its time, clocks differ.
constexpr std::chrono::seconds kLeeway{10};

}  // namespace

CredentialSource::CredentialSource(const ClusterConfig& config, const Clock& clock, Executor& loop, Logger log)
    : config_(config), clock_(clock), loop_(loop), log_(std::move(log)) {
  Credentials fixed{.authorization = {},
                    .client_certificate_pem = config.client_certificate_pem,
                    .client_key_pem = config.client_key_pem};
  if (!config.token.empty()) {
    fixed.authorization = "Bearer " + config.token;
  } else if (!config.username.empty() || !config.password.empty()) {
    fixed.authorization = "Basic " + encode_base64(config.username + ":" + config.password);
  }
  if (!config.exec) {
    current_ = std::make_shared<const Credentials>(std::move(fixed));
  }
}

CredentialSource::~CredentialSource() = default;

void CredentialSource::get(Callback callback) {
  const SteadyTime now = clock_.steady();
  if (!config_.token_file.empty() && (read_at_ == SteadyTime::min() || now - read_at_ >= kTokenFileAge)) {
    read_token_file();
  }
  if (config_.exec && plugin_due()) {
    run_plugin(std::move(callback));
    return;
  }
  callback(current_);
}

void CredentialSource::renew(const Current& used, Callback callback) {
  if (used == current_) {
    if (!config_.token_file.empty()) {
      read_token_file();
    } else if (config_.exec && (running_ || !ran_at_ || clock_.steady() - *ran_at_ >= kPluginRenewal)) {
      run_plugin(std::move(callback));
      return;
    }
  }
  callback(current_);
}

// A file that cannot be read leaves the token as it was: it may be valid still.
void CredentialSource::read_token_file() {
  read_at_ = clock_.steady();
  const auto token = read_token(config_.token_file);
  if (!token) {
    if (std::exchange(logged_error_, token.error().message) != token.error().message) {
      log_.warn("token file not read, the old token stays", {{"error", logged_error_}});
    }
    return;
  }
  logged_error_.clear();
  Credentials next = *current_;
  next.authorization = "Bearer " + *token;
  if (next != *current_) {
    current_ = std::make_shared<const Credentials>(std::move(next));
  }
}

bool CredentialSource::plugin_due() const {
  return running_ || !current_ || (expires_ && clock_.wall() + kLeeway >= *expires_);
}

void CredentialSource::run_plugin(Callback callback) {
  if (!running_ && failure_ && ran_at_ && clock_.steady() - *ran_at_ < kPluginRetry) {
    callback(std::unexpected(*failure_));
    return;
  }
  waiting_.push_back(std::move(callback));
  if (std::exchange(running_, true)) {
    return;
  }
  auto done = lifetime_.bind_on(loop_, [this](PluginRun run) { on_plugin_done(std::move(run)); });
  thread_ = std::jthread(
      [done = std::move(done), plugin = *config_.exec, info = exec_info(config_)](const std::stop_token& stop) mutable {
        done(run_exec_plugin(plugin, info, kPluginTimeout, stop));
      });
}

void CredentialSource::on_plugin_done(PluginRun run) {
  running_ = false;
  ran_at_ = clock_.steady();
  if (run.credentials) {
    failure_.reset();
    logged_error_.clear();
    use(*std::move(run.credentials));
  } else {
    failure_ = fail("credentials", std::move(run.credentials.error())).error();
    if (std::exchange(logged_error_, failure_->message) != failure_->message) {
      log_.warn("credentials not renewed", {{"error", logged_error_}, {"stderr", run.last_words}});
    }
  }
  for (Callback& callback : std::exchange(waiting_, {})) {
    callback(failure_ ? Result<Current>(std::unexpected(*failure_)) : Result<Current>(current_));
  }
}

void CredentialSource::use(ExecCredentials credentials) {
  Credentials next{.authorization = credentials.token.empty() ? "" : "Bearer " + credentials.token,
                   .client_certificate_pem = std::move(credentials.client_certificate_pem),
                   .client_key_pem = std::move(credentials.client_key_pem)};
  expires_ = credentials.expires;
  if (!current_ || next != *current_) {
    current_ = std::make_shared<const Credentials>(std::move(next));
  }
}

}  // namespace sharder::kube
