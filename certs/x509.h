#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "base/tls_identity.h"

// What this program does with certificates, without OpenSSL's types. Everything here is safe from any thread.
namespace sharder::certs {

// The names of the two halves of a pair in messages: their file names.
struct PairNames {
  std::string certificate;
  std::string key;
};

// Makes a server's identity of a PEM chain (leaf first) and a PEM private key. kInvalid when it could not serve: the
// chain or the key does not parse, the key is encrypted or belongs to another certificate, or it is weaker than OpenSSL
// accepts. The message begins with the name of the half that is wrong. An expired leaf is no failure: see
// TlsIdentity::not_after.
[[nodiscard]] Result<TlsIdentity> make_identity(std::string chain_pem, std::string key_pem, const PairNames& names);

// Whether the text holds at least one PEM certificate, and every PEM certificate in it parses. kInvalid has the reason.
[[nodiscard]] Result<void> check_roots(std::string_view pem);

}  // namespace sharder::certs
