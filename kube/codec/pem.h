#pragma once

#include <string>
#include <string_view>

#include "base/error.h"

// Checks of PEM texts before they reach libcurl, whose messages name neither file nor reason.
namespace sharder::kube {

// kInvalid: "no certificate in it", "certificate 2 is damaged".
Result<void> check_certificates(std::string_view pem);

// The certificates of a bundle that can be read: Go trusts these. Other text is skipped.
struct CaBundle {
  std::string pem;
  int damaged = 0;  // certificates that are left out
};
// kInvalid, when none can be read: "no certificate in it", "the certificates in it are damaged".
Result<CaBundle> read_ca_bundle(std::string_view pem);

// A chain (leaf first) and the private key of its leaf. kInvalid: "no certificate in it", "the private key is
// encrypted", "no private key in it", "certificate and key do not match". Never asks for a passphrase.
Result<void> check_key_pair(std::string_view certificate_pem, std::string_view key_pem);

}  // namespace sharder::kube
