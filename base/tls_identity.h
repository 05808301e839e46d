#pragma once

#include <string>

#include "base/clock.h"

namespace sharder {

// The certificate chain and the key of a TLS server. certs/ has checked that both parse and belong together.
struct TlsIdentity {
  std::string certificate_chain_pem;  // leaf first
  std::string private_key_pem;
  WallTime not_after;  // when the leaf expires
};

}  // namespace sharder
