#include "shard/lease.h"

#include <signal.h>
#include <unistd.h>

#include <array>
#include <stdexcept>
#include <string>
#include <utility>

#include "kube/client/client.h"
#include "kube/election/leader_election.h"
#include "ring/names.h"
#include "shard/lease_internal.h"

namespace sharder::shard {

namespace {

std::string host_name() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? std::string(name.data()) : std::string();
}

Result<void> check(const Options& options) {
  if (options.ring.empty() || !ring::is_label_value(options.ring)) {
    return fail(ErrorCode::kInvalid, "ring: the name of a ControllerRing is needed, got \"" + options.ring + "\"");
  }
  if (options.name.empty() || !ring::is_label_value(options.name)) {
    return fail(ErrorCode::kInvalid, "name: a shard's name is a label's value of 1 to 63 characters, got \"" +
                                         options.name + "\": objects carry it");
  }
  if (options.retry_period.count() <= 0 || options.renew_deadline <= options.retry_period ||
      options.lease_duration <= options.renew_deadline) {
    return fail(ErrorCode::kInvalid, "lease_duration > renew_deadline > retry_period > 0 does not hold");
  }
  return {};
}

}  // namespace

Result<kube::ClusterConfig> complete(Options& options) {
  if (options.name.empty()) {
    options.name = host_name();
  }
  if (const auto checked = check(options); !checked) {
    return std::unexpected(checked.error());
  }
  auto cluster = kube::load_config({.kubeconfig_flag = options.kubeconfig});
  if (cluster && options.lease_namespace.empty()) {
    options.lease_namespace = cluster->default_namespace;
  }
  return cluster;
}

kube::LeaderElectionOptions election_options(const Options& options) {
  if (options.ring.empty() || options.name.empty() || options.lease_namespace.empty()) {
    throw std::invalid_argument("shard: ring, name and Lease namespace are needed");
  }
  return {.lease_namespace = options.lease_namespace,
          .lease_name = options.name,
          .identity = options.name,
          .labels = {{std::string(ring::kRingLabel), options.ring}},
          .seen_label = std::string(ring::kStateLabel),
          .unique_identity = false,
          .lease_duration = options.lease_duration,
          .renew_deadline = options.renew_deadline,
          .retry_period = options.retry_period};
}

struct Lease::Impl {
  // `own`: null when `api` is somebody else's.
  Impl(std::unique_ptr<kube::Api> own, kube::Api& api, const Clock& clock, const Options& options, Callbacks callbacks,
       const Logger& log)
      : own_api(std::move(own)),
        election(api, clock, election_options(options),
                 kube::LeaderElection::Callbacks{.on_elected = std::move(callbacks.on_acquired),
                                                 .on_lost = std::move(callbacks.on_lost),
                                                 .on_renewed = std::move(callbacks.on_renewed)},
                 log) {}

  const std::unique_ptr<kube::Api> own_api;
  kube::LeaderElection election;
};

std::unique_ptr<Lease> LeaseAccess::over(kube::Api& api, const Clock& clock, const Options& options,
                                         Lease::Callbacks callbacks, const Logger& log) {
  return std::unique_ptr<Lease>(
      new Lease(std::make_unique<Lease::Impl>(nullptr, api, clock, options, std::move(callbacks), log)));
}

Result<std::unique_ptr<Lease>> Lease::create(Options options, Callbacks callbacks, Logger log) {
  auto cluster = complete(options);
  if (!cluster) {
    return std::unexpected(std::move(cluster).error());
  }
  ::signal(SIGPIPE, SIG_IGN);  // of OpenSSL's writes
  auto api = kube::Client::create(*std::move(cluster), {.user_agent = options.user_agent, .thread_name = "api-lease"},
                                  nullptr, log.named("kube"));
  if (!api) {
    return std::unexpected(std::move(api).error());
  }
  static const SystemClock clock;
  kube::Api& its = **api;
  return std::unique_ptr<Lease>(new Lease(
      std::make_unique<Impl>(*std::move(api), its, clock, options, std::move(callbacks), log.named("lease"))));
}

Lease::Lease(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Lease::~Lease() = default;

void Lease::start() {
  impl_->election.start();
}

void Lease::stop(std::function<void()> released_when) {
  impl_->election.stop(std::move(released_when));
}

void Lease::abandon() {
  impl_->election.abandon();
}

bool Lease::is_seen() const {
  const std::string state = impl_->election.seen_label();
  return state == "ready" || state == "expired" || state == "uncertain";
}

bool Lease::begins_anew() const {
  return impl_->election.was_taken();
}

bool Lease::valid() const {
  return impl_->election.leading();
}

BootTime Lease::valid_until() const {
  return impl_->election.valid_until();
}

}  // namespace sharder::shard
