#include "certs/certificate_keeper.h"

#include <algorithm>
#include <chrono>
#include <set>
#include <tuple>
#include <utility>

#include "base/backoff.h"
#include "base/lifetime.h"
#include "base/timer.h"
#include "certs/self_managed.h"
#include "certs/serving_secret.h"
#include "certs/trusted_roots.h"
#include "certs/x509.h"
#include "kube/client/lasting_failure.h"
#include "kube/client/resource.h"
#include "kube/client/retries.h"

namespace sharder::certs {

namespace {

constexpr std::string_view kFieldManager = "sharder";
// Writes that are so far apart have nothing to do with each other.
constexpr std::chrono::minutes kQuiet{10};
// After so many writes that follow each other sooner, somebody undoes them.
constexpr int kUndone = 3;
// Whether reading the webhook configurations is not permitted for long is to be known before rings miss a caBundle.
constexpr std::chrono::milliseconds kForbiddenPause{1000};

}  // namespace

struct CertificateKeeper::Impl {
  Impl(Executor& control_loop, kube::Api& kube_api, const Clock& a_clock, CertificateSecret& the_secret,
       CertificateKeeperOptions the_options, OnRoots roots_listener, const Logger& logger, WaitGroup& work)
      : control(control_loop),
        api(kube_api),
        clock(a_clock),
        secret(the_secret),
        options(std::move(the_options)),
        on_roots(std::move(roots_listener)),
        log(logger.named("certs")),
        leader_work(work),
        timer(control) {}

  void lead(bool now_leading);
  void read_configurations();
  void configurations_read(const Result<kube::Response>& answer);
  // Looks at the Secret: gives out its roots, and writes it if it needs that and is ours.
  void look();
  void give_out_roots(const ServingSecret& shown);
  void write(const ServingSecret& shown);
  void written(const std::string& version, const Result<kube::Response>& answer);
  void changed();

  Executor& control;
  kube::Api& api;
  const Clock& clock;
  CertificateSecret& secret;
  const CertificateKeeperOptions options;
  const OnRoots on_roots;
  const Logger log;
  WaitGroup& leader_work;

  bool leading = false;
  std::uint64_t term = 0;                // of leading or not; answers to requests of an earlier one are ignored
  std::optional<TrustedRoots> roots;     // known once the configurations were read
  std::optional<std::string> given_out;  // the bundle, in this term
  std::optional<ServingSecret> good;     // the last content that was good, in any term
  bool writing = false;
  std::optional<std::string> written_over;     // the version that was written over, until the watch shows a change
  kube::Retries reads;                         // of the webhook configurations
  Backoff write_pauses{kube::kLastingPauses};  // between any two writes that follow each other soon
  SteadyTime next_write = SteadyTime::min();
  kube::LastingFailure write_failure;
  int writes = 0;                        // that follow each other soon
  std::set<std::string> logged_reasons;  // of these writes, and why none could be made
  Timer timer;
  Lifetime lifetime;
};

void CertificateKeeper::Impl::lead(bool now_leading) {
  if (std::exchange(leading, now_leading) == now_leading) {
    return;
  }
  ++term;
  timer.cancel();
  roots.reset();
  given_out.reset();
  writing = false;
  reads.reset();
  if (leading) {
    read_configurations();
  }
}

void CertificateKeeper::Impl::read_configurations() {
  api.send(list_webhook_configurations(options.secret.webhook_selector),
           lifetime.bind_on(control, [this, of = term](const Result<kube::Response>& answer) {
             if (leading && of == term) {
               configurations_read(answer);
             }
           }));
}

void CertificateKeeper::Impl::configurations_read(const Result<kube::Response>& answer) {
  const SteadyTime now = clock.steady();
  if (answer) {
    if (reads.succeeded(now)) {
      log.info("webhook configurations can be read again");
    }
  } else {
    const kube::Retries::Failure failure = reads.failed(answer.error(), now);
    if (failure.is_news) {
      log.warn("cannot read webhook configurations", {{"error", answer.error().message}});
    }
    // An API server that has just started permits nothing for a moment.
    const bool is_forbidden = answer.error().code == ErrorCode::kForbidden;
    if (!is_forbidden || !reads.lasts()) {
      timer.set(is_forbidden ? std::min(failure.pause, kForbiddenPause) : failure.pause,
                [this] { read_configurations(); });
      return;
    }
  }
  roots.emplace();
  if (const auto bundles = answer ? ca_bundles(answer->body) : std::unexpected(answer.error())) {
    for (const std::string& bundle : *bundles) {
      roots->adopt(bundle);
    }
  }
  look();
}

void CertificateKeeper::Impl::changed() {
  written_over.reset();
  look();
}

void CertificateKeeper::Impl::look() {
  const auto& shown = secret.shown();
  if (shown && is_good(*shown, clock.wall())) {
    good = shown;
  }
  if (!shown || writing) {
    return;
  }
  const bool leads = leading && roots;
  if (leads) {
    timer.set(kCheckEvery, [this] { look(); });
    give_out_roots(*shown);
  }
  // A Secret that does not exist is made by whoever comes first: when the mode changes in a rolling update, the leader
  // does not know of it yet.
  const bool may_write = leads || shown->resource_version.empty();
  if (options.makes && may_write && written_over != shown->resource_version) {
    write(*shown);
  }
}

void CertificateKeeper::Impl::give_out_roots(const ServingSecret& shown) {
  const WallTime wall = clock.wall();
  const SteadyTime now = clock.steady();
  const bool can_be_shown =
      make_identity(shown.certificate_pem, shown.private_key_pem, {"tls.crt", "tls.key"}).has_value();
  roots->show(shown.roots_pem, can_be_shown ? shown.certificate_pem : "", wall, now);
  std::string bundle = roots->bundle(wall, now);
  const auto further = read_certificates(options.further_roots);
  for (const CertificateFacts& root : further.value_or(std::vector<CertificateFacts>())) {
    bundle += bundle.contains(root.pem) ? "" : root.pem;
  }
  // A Secret that is gone or damaged takes no root away. One of somebody else may have a pair and no roots.
  const bool unknown = bundle.empty() && (options.makes || shown.certificate_pem.empty());
  if (!unknown && given_out != bundle) {
    given_out = std::move(bundle);
    on_roots(*given_out);
  }
}

void CertificateKeeper::Impl::write(const ServingSecret& shown) {
  const SteadyTime now = clock.steady();
  if (now < next_write) {
    timer.set(next_write - now, [this] { look(); });
    return;
  }
  const auto change = next_secret(shown, good ? &*good : nullptr, *options.makes, clock.wall());
  if (!change) {
    if (logged_reasons.insert(change.error().message).second) {
      log.error("cannot make a certificate", {{"error", change.error().message}});
    }
    return;
  }
  if (!*change) {
    return;
  }
  const ServingSecret& wanted = (*change)->secret;
  const auto& [secret_namespace, name] = std::tie(options.secret.secret_namespace, options.secret.name);
  if (now >= next_write + kQuiet) {
    write_pauses.reset();
    writes = 0;
    logged_reasons.clear();
  }
  if (logged_reasons.insert((*change)->reason).second) {
    log.info("writing the webhook's Secret", {{"reason", (*change)->reason}});
  }
  next_write = now + write_pauses.next();  // somebody may undo it, again and again
  kube::Request request =
      shown.resource_version.empty()
          ? kube::create_request(kube::kSecrets, secret_namespace, new_secret(name, wanted), kFieldManager)
          : kube::patch_request(kube::kSecrets, secret_namespace, name, kube::kMergePatch, secret_patch(wanted),
                                kFieldManager);
  writing = true;
  api.send(std::move(request),
           [then = lifetime.bind_on(
                control,
                [this, of = term, version = shown.resource_version](const Result<kube::Response>& answer) {
                  if (of == term) {
                    written(version, answer);
                  }
                }),
            ticket = leader_work.enter()](Result<kube::Response> answer) mutable { then(std::move(answer)); });
}

// The watch shows what was written, before this or after it.
void CertificateKeeper::Impl::written(const std::string& version, const Result<kube::Response>& answer) {
  writing = false;
  const SteadyTime now = clock.steady();
  if (answer) {
    if (write_failure.succeeded(now)) {
      log.info("the webhook's Secret can be written again");
    }
    written_over = version;
    if (++writes == kUndone) {
      log.warn("the webhook's Secret does not stay as it is written, it is written with growing pauses");
    }
    look();
    return;
  }
  const ErrorCode code = answer.error().code;
  if (code != ErrorCode::kConflict && code != ErrorCode::kExists && write_failure.failed(answer.error(), now)) {
    log.warn("cannot write the webhook's Secret", {{"error", answer.error().message}});
  }
  timer.set(next_write - now, [this] { look(); });
}

CertificateKeeper::CertificateKeeper(Executor& control, kube::Api& api, const Clock& clock, CertificateSecret& secret,
                                     CertificateKeeperOptions options, OnRoots on_roots, const Logger& log,
                                     WaitGroup& leader_work)
    : impl_(std::make_unique<Impl>(control, api, clock, secret, std::move(options), std::move(on_roots), log,
                                   leader_work)) {
  secret.on_change(impl_->lifetime.bind([impl = impl_.get()] { impl->changed(); }));
}

CertificateKeeper::~CertificateKeeper() = default;

void CertificateKeeper::set_leading(bool leading) {
  impl_->control.post(impl_->lifetime.bind([impl = impl_.get(), leading] { impl->lead(leading); }));
}

}  // namespace sharder::certs
