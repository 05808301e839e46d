#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/tls_identity.h"

namespace sharder::certs {

struct SelfSignedOptions {
  std::string common_name;
  std::vector<std::string> dns_names;
  std::vector<std::string> ip_addresses;
  WallTime now;  // valid from an hour before it, for peers whose clock is behind
  std::chrono::seconds lifetime;
};

// A self-signed server certificate with a new ECDSA P-256 key.
[[nodiscard]] Result<TlsIdentity> make_self_signed(const SelfSignedOptions& options);

// A certificate for localhost and this machine's name, with a key that never leaves memory: for the metrics port when
// no files are given (protocol, 7). Nobody can verify it, so scrapers skip the verification. It is valid for ten years,
// longer than any process runs.
[[nodiscard]] Result<TlsIdentity> self_signed_identity(const Clock& clock);

}  // namespace sharder::certs
