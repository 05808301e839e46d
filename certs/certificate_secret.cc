#include "certs/certificate_secret.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <string_view>
#include <utility>
#include <vector>

#include "base/backoff.h"
#include "base/lifetime.h"
#include "base/poster.h"
#include "base/rfc3339.h"
#include "base/timer.h"
#include "certs/expiry_gauge.h"
#include "certs/x509.h"
#include "kube/client/lasting_failure.h"
#include "kube/client/resource.h"
#include "kube/watch/list_watch.h"

namespace sharder::certs {

namespace {

constexpr std::string_view kUnknown = "waiting for the webhook's Secret";
constexpr std::string_view kMissing = "the webhook's Secret does not exist";
constexpr std::string_view kInvalid = "the webhook's Secret has no good certificate";
constexpr std::string_view kUntrusted = "waiting for the webhook's certificate to be trusted";

// Between two looks at the webhook configurations.
constexpr BackoffPolicy kPauses{.initial = std::chrono::milliseconds(200), .max = std::chrono::seconds(15)};

}  // namespace

// Belongs to the control loop, except what is marked otherwise.
struct CertificateSecret::Impl {
  class Sink;

  Impl(Executor& control_loop, kube::Api& kube_api, const Clock& a_clock, CertificateSecretOptions the_options,
       prometheus::Registry& registry, const Logger& logger)
      : control(control_loop),
        api(kube_api),
        clock(a_clock),
        options(std::move(the_options)),
        log(logger.named("certs").with({{"secret", options.secret_namespace + "/" + options.name}})),
        expiry(expiry_gauge(registry, "webhook")),
        timer(control) {}

  void show(ServingSecret secret);
  // The Secret has no pair to show. `reason`: for not_ready(); `error`: for the log.
  void keep_current(std::string_view reason, const std::string& error);
  void consider_pair(const ServingSecret& secret);

  // Publishes the candidate, or finds out whether it is trusted.
  void consider();
  void configurations_read(std::uint64_t number, const Result<kube::Response>& answer);
  void judge(const std::vector<std::string>& bundles);
  void look_again(std::chrono::nanoseconds pause);
  void publish();

  // Constant, or with their own synchronisation:
  Executor& control;
  kube::Api& api;
  const Clock& clock;
  const CertificateSecretOptions options;
  const Logger log;
  prometheus::Gauge& expiry;
  Published<TlsIdentity> identity;
  Guarded<std::optional<std::string>> not_ready{std::string(kUnknown)};

  // The control loop's:
  std::optional<ServingSecret> shown;
  std::function<void()> listener;
  std::shared_ptr<const TlsIdentity> current;    // published
  std::shared_ptr<const TlsIdentity> candidate;  // not yet
  std::uint64_t number = 0;                      // of the candidate: an answer for an older one is ignored
  SteadyTime candidate_since = {};
  std::optional<SteadyTime> trusted_since;
  std::optional<SteadyTime> blind_since;  // the first of the 403s in a row
  kube::LastingFailure failure;           // of reading webhook configurations
  Backoff pauses{kPauses};
  bool waiting_logged = false;
  std::string problem;  // that was logged last, "" when the Secret is good
  Timer timer;
  std::shared_ptr<kube::ListWatch> watch;
  Lifetime lifetime;
};

// What the watch shows, on the API loop.
class CertificateSecret::Impl::Sink final : public kube::WatchSink {
 public:
  explicit Sink(Poster<Impl> post) : post_(std::move(post)) {}

  void on_event(const kube::WatchEvent& event) override {
    switch (event.type) {
      case kube::WatchEventType::kInit:
        listed_ = false;
        break;
      case kube::WatchEventType::kInitApply:
      case kube::WatchEventType::kApply:
        listed_ = true;
        post_([secret = decode_serving_secret(event.object)](Impl& impl) {
          if (secret) {
            impl.show(*secret);
          } else {
            impl.keep_current(kInvalid, secret.error().message);
          }
        });
        break;
      case kube::WatchEventType::kInitDone:
        if (!listed_) {
          gone();
        }
        break;
      case kube::WatchEventType::kDelete:
        gone();
        break;
    }
  }
  void on_connection(bool /*watching*/, const std::optional<Error>& /*error*/) override {}

 private:
  void gone() {
    post_([](Impl& impl) { impl.show({}); });
  }

  Poster<Impl> post_;
  bool listed_ = false;
};

void CertificateSecret::Impl::show(ServingSecret secret) {
  shown = std::move(secret);
  if (shown->resource_version.empty()) {
    keep_current(kMissing, "it does not exist");
  } else {
    consider_pair(*shown);
  }
  if (listener) {
    listener();
  }
}

void CertificateSecret::Impl::keep_current(std::string_view reason, const std::string& error) {
  if (!current) {
    not_ready.with([reason](auto& text) { text = reason; });
  }
  candidate.reset();
  timer.cancel();
  if (std::exchange(problem, error) != error) {
    log.warn(current ? "no good certificate in the Secret, the old one stays" : "no good certificate in the Secret",
             {{"error", error}});
  }
}

void CertificateSecret::Impl::consider_pair(const ServingSecret& secret) {
  auto pair =
      make_identity(secret.certificate_pem, secret.private_key_pem, {.certificate = "tls.crt", .key = "tls.key"});
  if (!pair) {
    keep_current(kInvalid, pair.error().message);
    return;
  }
  if (!std::exchange(problem, "").empty()) {
    log.info("the Secret has a good certificate again");
  }
  const auto is_same = [&](const std::shared_ptr<const TlsIdentity>& known) {
    return known && known->certificate_chain_pem == pair->certificate_chain_pem &&
           known->private_key_pem == pair->private_key_pem;
  };
  if (is_same(current)) {
    candidate.reset();
    timer.cancel();
  } else if (!is_same(candidate)) {
    candidate = std::make_shared<const TlsIdentity>(std::move(*pair));
    ++number;
    candidate_since = clock.steady();
    trusted_since.reset();
    pauses.reset();
    waiting_logged = false;
    if (!current) {
      not_ready.with([](auto& text) { text = kUntrusted; });
    }
    consider();
  }
}

void CertificateSecret::Impl::consider() {
  if (!candidate) {
    return;
  }
  const SteadyTime now = clock.steady();
  const bool is_late = !current && now - candidate_since >= kBlindPause;
  if (is_late || (current && current->not_after <= clock.wall() + kLastHour)) {
    publish();
    return;
  }
  api.send(list_webhook_configurations(options.webhook_selector),
           lifetime.bind_on(control, [this, asked = number](const Result<kube::Response>& answer) {
             configurations_read(asked, answer);
           }));
}

void CertificateSecret::Impl::configurations_read(std::uint64_t asked, const Result<kube::Response>& answer) {
  if (!candidate || asked != number) {
    return;
  }
  const SteadyTime now = clock.steady();
  const auto bundles = answer ? ca_bundles(answer->body) : std::unexpected(answer.error());
  if (bundles) {
    blind_since.reset();
    failure.succeeded(now);
    judge(*bundles);
    return;
  }
  if (failure.failed(bundles.error(), now)) {
    log.warn("cannot read webhook configurations, so a new certificate waits", {{"error", bundles.error().message}});
  }
  const bool is_blind = bundles.error().code == ErrorCode::kForbidden;
  blind_since = is_blind ? blind_since.value_or(now) : std::optional<SteadyTime>();
  if (is_blind && now - *blind_since >= kBlindPause) {
    publish();
  } else {
    look_again(pauses.next());
  }
}

void CertificateSecret::Impl::judge(const std::vector<std::string>& bundles) {
  const WallTime wall = clock.wall();
  const SteadyTime now = clock.steady();
  const auto trusting = [&](const TlsIdentity& pair) {
    return std::ranges::count_if(
        bundles, [&](const std::string& bundle) { return verifies(pair.certificate_chain_pem, bundle, wall); });
  };
  const auto all = std::ssize(bundles);
  const auto trust_it = trusting(*candidate);
  const bool is_trusted = trust_it == all || (trust_it > 0 && now - candidate_since >= kStale);
  if (!is_trusted) {
    trusted_since.reset();
    if (!std::exchange(waiting_logged, true)) {
      log.info("a new certificate is shown when the webhook configurations trust it");
    }
    look_again(pauses.next());
    return;
  }
  trusted_since = trusted_since.value_or(now);
  const bool is_better = !current || (all > 0 && trusting(*current) == 0);
  if (is_better || now - *trusted_since >= kTakeUp) {
    publish();
  } else {
    look_again(*trusted_since + kTakeUp - now);
  }
}

void CertificateSecret::Impl::look_again(std::chrono::nanoseconds pause) {
  timer.set(pause, [this] { consider(); });
}

void CertificateSecret::Impl::publish() {
  current = std::exchange(candidate, nullptr);
  timer.cancel();
  identity.publish(current);
  not_ready.with([](auto& text) { text.reset(); });
  expiry.Set(unix_seconds(current->not_after));
  log.info("certificate loaded", {{"not_after", format_time(current->not_after)}});
  if (current->not_after <= clock.wall()) {
    log.warn("certificate has expired, clients will not accept it");
  }
}

CertificateSecret::CertificateSecret(Executor& control, kube::Api& api, const Clock& clock,
                                     CertificateSecretOptions options, prometheus::Registry& registry,
                                     const Logger& log)
    : impl_(std::make_unique<Impl>(control, api, clock, std::move(options), registry, log)) {}

CertificateSecret::~CertificateSecret() = default;

void CertificateSecret::start() {
  if (impl_->options.before) {
    impl_->candidate = std::make_shared<const TlsIdentity>(*impl_->options.before);
    impl_->publish();
  }
  impl_->watch = kube::ListWatch::start(
      impl_->api, impl_->clock,
      {.resource = kube::kSecrets,
       .object_namespace = impl_->options.secret_namespace,
       .field_selector = "metadata.name=" + impl_->options.name},
      std::make_shared<Impl::Sink>(Poster<Impl>(*impl_, impl_->lifetime, impl_->control)), impl_->log);
}

const Published<TlsIdentity>& CertificateSecret::identity() const {
  return impl_->identity;
}

std::optional<std::string> CertificateSecret::not_ready() const {
  return impl_->not_ready.with([](const auto& text) { return text; });
}

const std::optional<ServingSecret>& CertificateSecret::shown() const {
  return impl_->shown;
}

void CertificateSecret::on_change(std::function<void()> listener) {
  impl_->listener = std::move(listener);
}

}  // namespace sharder::certs
