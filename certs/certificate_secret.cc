#include "certs/certificate_secret.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <iterator>
#include <map>
#include <string>
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
#include "kube/client/resource.h"
#include "kube/client/retries.h"
#include "kube/codec/pem.h"
#include "kube/watch/list_watch.h"

namespace sharder::certs {

namespace {

constexpr std::string_view kUnknown = "waiting for the webhook's Secret";
constexpr std::string_view kMissing = "the webhook's Secret does not exist";
constexpr std::string_view kInvalid = "the webhook's Secret has no good certificate";
constexpr std::string_view kUntrusted = "waiting for the webhook's certificate to be trusted";

// Between two looks at the webhook configurations.
constexpr BackoffPolicy kPauses{.initial = std::chrono::milliseconds(200), .max = std::chrono::seconds(15)};

using Pair = std::shared_ptr<const TlsIdentity>;

// The caBundles of the webhook configurations: of each what the API server reads, without damaged certificates. Mostly
// all are the same, and that one is verified only once.
class Bundles {
 public:
  explicit Bundles(const std::vector<std::string>& all) : all_(std::ssize(all)) {
    for (const std::string& bundle : all) {
      const auto readable = kube::read_ca_bundle(bundle);
      ++counts_[readable ? readable->pem : ""];
    }
  }

  std::ptrdiff_t all() const { return all_; }
  // How many of them trust the pair.
  std::ptrdiff_t trusting(const TlsIdentity& pair, WallTime now) const {
    std::ptrdiff_t number = 0;
    for (const auto& [bundle, count] : counts_) {
      number += verifies(pair.certificate_chain_pem, bundle, now) ? count : 0;
    }
    return number;
  }

 private:
  std::ptrdiff_t all_;
  std::map<std::string, std::ptrdiff_t> counts_;
};

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

  // What may be shown next, the Secret's pair first.
  std::vector<Pair> offers() const;
  // The offers have changed.
  void begin();
  // Publishes one of the offers, or finds out which one is trusted.
  void consider();
  void configurations_read(const Result<kube::Response>& answer);
  // Whether the pair may be the first that is shown, when so many of the caBundles trust it.
  bool may_be_first(const Pair& pair, std::ptrdiff_t trust_it, std::ptrdiff_t all) const;
  void choose_first(const Bundles& bundles);
  void choose_first_blindly();
  void judge_candidate(const Bundles& bundles);
  // The first pair has waited long enough.
  bool is_late() const { return !current && waiting_since && clock.steady() - *waiting_since >= kBlindPause; }
  void wait_for_trust();
  void look_again(std::chrono::nanoseconds pause);
  void publish(Pair pair);
  void log_loaded(bool is_secrets);

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
  bool secret_known = false;                    // whether it exists, and what it has
  Pair current;                                 // published
  Pair candidate;                               // the Secret's, not yet published
  std::vector<Pair> earlier;                    // options.before, until a pair is published
  bool is_secrets_shown = false;                // the published pair is one that the Secret has had
  std::uint64_t number = 0;                     // of the offers: an answer for older ones is ignored
  std::optional<SteadyTime> waiting_since;      // the candidate; while nothing is shown, the first of the offers
  std::optional<SteadyTime> trusted_since;      // the candidate
  std::optional<SteadyTime> blind_since;        // the first of the 403s in a row
  kube::Retries reads{{.transient = kPauses}};  // of webhook configurations
  Backoff pauses{kPauses};                      // until a pair is trusted
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
  secret_known = true;
  if (!current) {
    not_ready.with([reason](auto& text) { text = reason; });
  }
  if (std::exchange(problem, error) != error) {
    log.warn(current ? "no good certificate in the Secret, the old one stays" : "no good certificate in the Secret",
             {{"error", error}});
  }
  candidate.reset();
  begin();
}

void CertificateSecret::Impl::consider_pair(const ServingSecret& secret) {
  auto pair =
      make_identity(secret.certificate_pem, secret.private_key_pem, {.certificate = "tls.crt", .key = "tls.key"});
  if (!pair) {
    keep_current(kInvalid, pair.error().message);
    return;
  }
  secret_known = true;
  if (!std::exchange(problem, "").empty()) {
    log.info("the Secret has a good certificate again");
  }
  const auto is_same = [&](const Pair& known) {
    return known && known->certificate_chain_pem == pair->certificate_chain_pem &&
           known->private_key_pem == pair->private_key_pem;
  };
  if (is_same(current)) {
    if (!std::exchange(is_secrets_shown, true)) {
      log_loaded(true);
    }
    candidate.reset();
    begin();
  } else if (!is_same(candidate)) {
    if (!candidate && is_late()) {
      waiting_since.reset();  // nobody trusts a pair of `earlier`; the Secret's has half a minute of its own
    }
    candidate = std::make_shared<const TlsIdentity>(std::move(*pair));
    if (!current) {
      not_ready.with([](auto& text) { text = kUntrusted; });
    }
    begin();
  }
}

std::vector<Pair> CertificateSecret::Impl::offers() const {
  std::vector<Pair> all = earlier;
  if (candidate) {
    all.insert(all.begin(), candidate);
  }
  return all;
}

void CertificateSecret::Impl::begin() {
  ++number;
  const bool has_offers = !offers().empty();
  if (!has_offers) {
    waiting_since.reset();
  } else if (current || !waiting_since) {
    waiting_since = clock.steady();
  }
  trusted_since.reset();
  blind_since.reset();
  pauses.reset();
  reads.hasten();
  waiting_logged = false;
  timer.cancel();
  if (has_offers) {
    consider();
  }
}

void CertificateSecret::Impl::consider() {
  if (current && current->not_after <= clock.wall() + kLastHour) {
    publish(candidate);
    return;
  }
  api.send(list_webhook_configurations(options.webhook_selector),
           lifetime.bind_on(control, [this, asked = number](const Result<kube::Response>& answer) {
             if (asked == number) {
               configurations_read(answer);
             }
           }));
}

void CertificateSecret::Impl::configurations_read(const Result<kube::Response>& answer) {
  const SteadyTime now = clock.steady();
  const auto bundles = answer ? ca_bundles(answer->body) : std::unexpected(answer.error());
  if (bundles) {
    blind_since.reset();
    if (reads.succeeded(now)) {
      log.info("webhook configurations can be read again");
    }
    current ? judge_candidate(Bundles(*bundles)) : choose_first(Bundles(*bundles));
    return;
  }
  const kube::Retries::Failure failure = reads.failed(bundles.error(), now);
  if (failure.is_news) {
    log.warn("cannot read webhook configurations, so a new certificate waits", {{"error", bundles.error().message}});
  }
  const bool is_blind = bundles.error().code == ErrorCode::kForbidden;
  blind_since = is_blind ? blind_since.value_or(now) : std::optional<SteadyTime>();
  if (is_late()) {
    choose_first_blindly();
  } else if (current && is_blind && now - *blind_since >= kBlindPause) {
    publish(candidate);
  } else {
    look_again(is_blind ? pauses.next() : failure.pause);
  }
}

bool CertificateSecret::Impl::may_be_first(const Pair& pair, std::ptrdiff_t trust_it, std::ptrdiff_t all) const {
  // One of an earlier mode that nobody trusts would make a pod ready that no API server can call.
  return pair == candidate || trust_it > 0 || (all == 0 && pair->not_after > clock.wall());
}

void CertificateSecret::Impl::choose_first(const Bundles& bundles) {
  Pair best;  // the first of equals
  std::ptrdiff_t most = -1;
  for (const Pair& pair : offers()) {
    const auto trust_it = bundles.trusting(*pair, clock.wall());
    if (trust_it > most && may_be_first(pair, trust_it, bundles.all())) {
      best = pair;
      most = trust_it;
    }
  }
  const bool has_choice = bundles.all() > 0 || secret_known;
  if (best && ((most == bundles.all() && has_choice) || is_late())) {
    publish(best);
  } else {
    wait_for_trust();
  }
}

void CertificateSecret::Impl::choose_first_blindly() {
  const std::vector<Pair> pairs = offers();
  const auto found = std::ranges::find_if(pairs, [this](const Pair& pair) { return may_be_first(pair, 0, 0); });
  if (found != pairs.end()) {
    publish(*found);
  } else {
    look_again(pauses.next());
  }
}

void CertificateSecret::Impl::judge_candidate(const Bundles& bundles) {
  const WallTime wall = clock.wall();
  const SteadyTime now = clock.steady();
  const auto all = bundles.all();
  const auto trust_it = bundles.trusting(*candidate, wall);
  const bool is_trusted = trust_it == all || (trust_it > 0 && now - *waiting_since >= kStale);
  if (!is_trusted) {
    trusted_since.reset();
    wait_for_trust();
    return;
  }
  trusted_since = trusted_since.value_or(now);
  const bool is_better = all > 0 && bundles.trusting(*current, wall) == 0;
  if (is_better || now - *trusted_since >= kTakeUp) {
    publish(candidate);
  } else {
    look_again(*trusted_since + kTakeUp - now);
  }
}

void CertificateSecret::Impl::wait_for_trust() {
  if (!std::exchange(waiting_logged, true)) {
    log.info("a new certificate is shown when the webhook configurations trust it");
  }
  look_again(pauses.next());
}

void CertificateSecret::Impl::look_again(std::chrono::nanoseconds pause) {
  if (!current && !is_late()) {
    pause = std::min<std::chrono::nanoseconds>(pause, *waiting_since + kBlindPause - clock.steady());
  }
  timer.set(pause, [this] { consider(); });
}

void CertificateSecret::Impl::publish(Pair pair) {
  const bool is_secrets = pair == candidate;
  current = std::move(pair);
  earlier.clear();
  timer.cancel();
  identity.publish(current);
  not_ready.with([](auto& text) { text.reset(); });
  expiry.Set(unix_seconds(current->not_after));
  is_secrets_shown = is_secrets;
  log_loaded(is_secrets);
  if (current->not_after <= clock.wall()) {
    log.warn("certificate has expired, clients will not accept it");
  }
  if (is_secrets) {
    candidate.reset();
  }
  if (candidate) {
    look_again(pauses.next());
  }
}

void CertificateSecret::Impl::log_loaded(bool is_secrets) {
  log.info("certificate loaded",
           {{"from", is_secrets ? "Secret" : "files"}, {"not_after", format_time(current->not_after)}});
}

CertificateSecret::CertificateSecret(Executor& control, kube::Api& api, const Clock& clock,
                                     CertificateSecretOptions options, prometheus::Registry& registry,
                                     const Logger& log)
    : impl_(std::make_unique<Impl>(control, api, clock, std::move(options), registry, log)) {}

CertificateSecret::~CertificateSecret() = default;

void CertificateSecret::start() {
  for (const TlsIdentity& pair : impl_->options.before) {
    impl_->earlier.push_back(std::make_shared<const TlsIdentity>(pair));
  }
  if (!impl_->earlier.empty()) {
    impl_->control.post(impl_->lifetime.bind([impl = impl_.get()] { impl->begin(); }));
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
