#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/error.h"
#include "certs/authority.h"
#include "certs/serving_secret.h"

// What the leader writes into the Secret in the mode selfManaged (decision 8). Pure.
namespace sharder::certs {

inline constexpr std::chrono::seconds kAuthorityLifetime = std::chrono::days(5 * 365);
inline constexpr std::chrono::seconds kServerLifetime = std::chrono::days(90);

struct SecretChange {
  ServingSecret secret;  // as it is to be; its resourceVersion is that of `shown`, "" to create it
  std::string reason;    // for the log: "the Secret does not exist", "the certificate expires at ..."
};

// The change that the Secret needs, nullopt when it is as it should be. `shown`: what the API server shows, the default
// value when there is none. `remembered`: the last content that was good, to restore it from; null: unknown. `wanted`:
// the names of the certificate; its times are set here. Errors are OpenSSL's, when it cannot make a certificate.
//
// - Renewed when a third of the lifetime is left. A new authority also brings a new serving certificate; the old root
//   stays in ca.crt until it expires or the next authority comes, and TrustedRoots decides how long it is published.
// - An authority without a usable key is replaced: nothing could be issued with it.
// - A Secret that is gone, or has damaged values, is restored from `remembered`. A value that is absent is a request to
//   renew: without ca.crt or ca.key everything, without tls.crt or tls.key the serving certificate.
[[nodiscard]] Result<std::optional<SecretChange>> next_secret(const ServingSecret& shown,
                                                              const ServingSecret* remembered,
                                                              const ServerCertificate& wanted, WallTime now);

// Whether a replica can serve with it for now: the pair belongs together and verifies with the roots, which have a key.
[[nodiscard]] bool is_good(const ServingSecret& secret, WallTime now);

}  // namespace sharder::certs
