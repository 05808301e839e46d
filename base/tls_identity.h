#pragma once

#include <string>

#include "base/clock.h"

namespace sharder {

// What a TLS server shows and signs with: checked to parse and to belong together by whoever made it (certs/).
struct TlsIdentity {
  std::string certificate_chain_pem;  // leaf first
  std::string private_key_pem;
  WallTime not_after;  // when the leaf expires
};

}  // namespace sharder
