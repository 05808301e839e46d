#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/tls_identity.h"

// Makes certificates with new ECDSA P-256 keys, signed with SHA-256. Safe from any thread.
namespace sharder::certs {

// What a server certificate says.
struct ServerCertificate {
  std::string common_name;  // cut to 64 characters (RFC 5280); clients look at the names below
  std::vector<std::string> dns_names = {};
  std::vector<std::string> ip_addresses = {};
  WallTime now = {};  // it is valid from an hour before, for peers whose clock is behind
  std::chrono::seconds lifetime = {};
};

// A certificate authority: its certificate and the key to sign with, both PEM.
struct Authority {
  std::string certificate_pem;
  std::string private_key_pem;
};

// A new authority that signs its own certificate.
[[nodiscard]] Result<Authority> make_authority(const std::string& common_name, WallTime now,
                                               std::chrono::seconds lifetime);

// A server's certificate and key, signed by the authority. kInvalid: the authority's certificate or key does not parse,
// or they do not belong together.
[[nodiscard]] Result<TlsIdentity> issue(const ServerCertificate& certificate, const Authority& authority);

// The same, signed with its own key.
[[nodiscard]] Result<TlsIdentity> issue_self_signed(const ServerCertificate& certificate);

}  // namespace sharder::certs
