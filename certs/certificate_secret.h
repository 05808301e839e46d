#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/executor.h"
#include "base/guarded.h"
#include "base/log.h"
#include "base/tls_identity.h"
#include "certs/serving_secret.h"
#include "certs/trusted_roots.h"
#include "kube/client/api.h"

namespace prometheus {
class Registry;
}  // namespace prometheus

namespace sharder::certs {

struct CertificateSecretOptions {
  std::string secret_namespace;
  std::string name;
  std::string webhook_selector;  // label selector of our webhook configurations
  // The pairs of the modes that may have been in force before. One of them is shown until the Secret's pair is trusted.
  std::vector<TlsIdentity> before = {};
};

// The serving certificate from a Secret, which is watched (decision 8). A pair is published once every webhook
// configuration of ours trusts it ("trust first").
//
//   nothing shown ──► read the webhook configurations
//        ▲  ▲             ├─ all trust the Secret's pair ─────────────────────────────────► show the Secret's pair
//        │  │             ├─ all trust a pair of `before` ────────────────────────────────► show that
//        │  │             └─ neither: look again, not ready; after kBlindPause ───────────► show the most trusted pair,
//        │  └──────────────────────┘                                                        of equals the Secret's
//        ├ the Secret is damaged or missing: the same with `before` alone, of which a pair that nobody trusts is never
//        │ shown. With no configuration, every pair is trusted; but a pair of `before` then waits until the Secret is
//        │ known, and must not have expired.
//        └ the configurations cannot be read for kBlindPause: the Secret's pair, else the first of `before` that has
//          not expired.
//
//   shown ──► the Secret has the same pair, or no good one ──► nothing changes; that is logged once
//     │
//     └─────► the Secret has another one: the candidate ──► (the shown one expires within the hour) ──► show it
//                 │  ▲
//                 ▼  │ not trusted yet
//           read the webhook configurations ──► trusted for kTakeUp, or nothing trusts the shown pair ──► show it
//
// Metric: controller_sharding_certificate_expiry_timestamp_seconds{server="webhook"} of the published pair.
//
// Lives on the control loop; destroy it when that loop has stopped, or on it.
class CertificateSecret {
 public:
  // Other API servers see a changed webhook configuration a moment later.
  static constexpr std::chrono::seconds kTakeUp{2};
  // For each new pair, where the webhook configurations cannot be read because that is not permitted; and for the first
  // pair.
  static constexpr std::chrono::seconds kBlindPause{30};
  // After this time it is enough that one configuration trusts the candidate: a ring whose configuration is never
  // applied (it is being deleted, its spec is wrong, a policy rejects it) must not keep the others at a root that the
  // leader is going to forget.
  static constexpr std::chrono::minutes kStale = std::chrono::minutes(TrustedRoots::kOverlap) / 2;
  static constexpr std::chrono::hours kLastHour{1};

  // Everything given outlives it.
  CertificateSecret(Executor& control, kube::Api& api, const Clock& clock, CertificateSecretOptions options,
                    prometheus::Registry& registry, const Logger& log);
  ~CertificateSecret();
  CertificateSecret(const CertificateSecret&) = delete;
  CertificateSecret& operator=(const CertificateSecret&) = delete;

  // Begins to watch. Once.
  void start();

  // What the server shows; null while there is nothing to show. Any thread.
  const Published<TlsIdentity>& identity() const;
  // Why no pair is shown yet, in fixed words: "the webhook's Secret does not exist". nullopt once there is one, for
  // ever. Any thread.
  std::optional<std::string> not_ready() const;

  // The newest content of the Secret, good or not; nullopt until it is known. On the control loop.
  const std::optional<ServingSecret>& shown() const;
  // Called on the control loop after each change of shown(). Set it on that loop, or before start().
  void on_change(std::function<void()> listener);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sharder::certs
