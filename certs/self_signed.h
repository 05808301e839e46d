#pragma once

#include "base/clock.h"
#include "base/error.h"
#include "base/tls_identity.h"

namespace sharder::certs {

// A certificate for localhost and this machine's name, with a key that never leaves memory: for the metrics port when
// no files are given (protocol, 7). Nobody can verify it, so scrapers skip the verification. It is valid for ten years,
// longer than any process runs.
[[nodiscard]] Result<TlsIdentity> self_signed_identity(const Clock& clock);

}  // namespace sharder::certs
