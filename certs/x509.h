#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
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

// One certificate of a PEM text.
struct CertificateFacts {
  std::string pem;  // this certificate alone, as OpenSSL writes it: equal certificates have equal texts
  WallTime not_before;
  WallTime not_after;
  // Alternative names: DNS names and IP addresses, in the order of the certificate, each as printable_name() has it.
  std::vector<std::string> names;
};

// A name as it is quoted and compared: each byte that is not printable ASCII is '?', because a certificate may have any
// bytes there, and JSON may not. It is cut to the length of the longest DNS name.
[[nodiscard]] std::string printable_name(std::string_view name);

// The certificates of a PEM text, in their order. kInvalid: there is none, or one does not parse.
[[nodiscard]] Result<std::vector<CertificateFacts>> read_certificates(std::string_view pem);

// What keeps a TLS client from accepting a server's chain.
enum class ChainFault {
  kUnreadable,     // the chain or the roots do not parse, or there are none
  kNotYetValid,    // one of its certificates
  kExpired,        // one of its certificates
  kNotForServers,  // one of its certificates is for another purpose
  kUntrusted,      // it does not lead to one of the roots, or a signature is wrong
};

// Why a client that trusts `roots_pem` does not accept the chain (leaf first) of a TLS server at this time, as
// kube-apiserver decides it: every certificate of the bundle is trusted by itself, and a signature with SHA-1 counts
// for nothing. Names are not compared. nullopt: it accepts the chain.
[[nodiscard]] std::optional<ChainFault> chain_fault(std::string_view chain_pem, std::string_view roots_pem,
                                                    WallTime now);
[[nodiscard]] inline bool verifies(std::string_view chain_pem, std::string_view roots_pem, WallTime now) {
  return !chain_fault(chain_pem, roots_pem, now);
}

// Whether the first certificate of the text is for a server that clients call by this DNS name or IP address (without
// brackets). As in Go, the alternative names decide, never the common name; a wildcard stands for one label. False when
// the text does not parse.
[[nodiscard]] bool covers(std::string_view certificate_pem, const std::string& host);

// Whether the PEM private key belongs to the first certificate of the text. False when one of them does not parse.
[[nodiscard]] bool belong_together(std::string_view certificate_pem, std::string_view key_pem);

// Whether the text holds at least one PEM certificate, and every PEM certificate in it parses. kInvalid has the reason.
[[nodiscard]] Result<void> check_roots(std::string_view pem);

}  // namespace sharder::certs
