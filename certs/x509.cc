#include "certs/x509.h"

#include <ctime>
#include <iterator>
#include <optional>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "certs/openssl_internal.h"

namespace sharder::certs {
namespace {

// All certificates of the text, leaf first.
Result<std::vector<CertificatePtr>> parse_certificates(std::string_view pem) {
  PemCertificates found = read_pem_certificates(pem);
  if (found.damage) {
    return fail(ErrorCode::kInvalid,
                "certificate " + std::to_string(found.certificates.size() + 1) + " does not parse: " + *found.damage);
  }
  if (found.certificates.empty()) {
    return fail(ErrorCode::kInvalid, "holds no PEM certificate");
  }
  return std::move(found.certificates);
}

Result<KeyPtr> parse_key(std::string_view pem) {
  PemKey found = read_pem_key(pem);
  if (found.encrypted) {
    return fail(ErrorCode::kInvalid, "the private key is encrypted, which is not supported");
  }
  if (!found.key) {
    const bool none = pem.find("PRIVATE KEY-----") == std::string_view::npos;
    return fail(ErrorCode::kInvalid,
                none ? "holds no PEM private key" : "the private key does not parse: " + found.damage);
  }
  return std::move(found.key);
}

std::optional<WallTime> to_wall_time(const ASN1_TIME* time) {
  std::tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) {
    return std::nullopt;
  }
  return WallTime(std::chrono::seconds(timegm(&parts)));
}

// Loads the pair as a server does, so that a pair that passes cannot fail at a handshake. OpenSSL's security level does
// not accept keys that are too short.
Result<void> try_serving(const std::vector<CertificatePtr>& chain, EVP_PKEY* key, const PairNames& names) {
  ERR_clear_error();
  const ContextPtr context(SSL_CTX_new(TLS_server_method()));
  if (!context) {
    return fail(ErrorCode::kInvalid, "TLS: " + take_openssl_error());
  }
  if (SSL_CTX_use_certificate(context.get(), chain.front().get()) != 1) {
    return fail(ErrorCode::kInvalid, names.certificate + ": cannot serve this certificate: " + take_openssl_error());
  }
  for (auto link = std::next(chain.begin()); link != chain.end(); ++link) {
    if (SSL_CTX_add1_chain_cert(context.get(), link->get()) != 1) {
      return fail(ErrorCode::kInvalid, names.certificate + ": cannot serve this chain: " + take_openssl_error());
    }
  }
  if (SSL_CTX_use_PrivateKey(context.get(), key) != 1) {
    return fail(ErrorCode::kInvalid, names.key + ": cannot serve with this private key: " + take_openssl_error());
  }
  return {};
}

}  // namespace

Result<TlsIdentity> make_identity(std::string chain_pem, std::string key_pem, const PairNames& names) {
  auto chain = parse_certificates(chain_pem);
  if (!chain) {
    return fail(names.certificate, std::move(chain.error()));
  }
  auto key = parse_key(key_pem);
  if (!key) {
    return fail(names.key, std::move(key.error()));
  }
  X509* const leaf = chain->front().get();
  if (X509_check_private_key(leaf, key->get()) != 1) {
    ERR_clear_error();
    return fail(ErrorCode::kInvalid,
                names.key + ": the private key does not belong to the certificate in " + names.certificate);
  }
  if (auto served = try_serving(*chain, key->get(), names); !served) {
    return std::unexpected(std::move(served.error()));
  }
  const auto not_after = to_wall_time(X509_get0_notAfter(leaf));
  if (!not_after) {
    return fail(ErrorCode::kInvalid, names.certificate + ": the time when it expires does not parse");
  }
  return TlsIdentity{
      .certificate_chain_pem = std::move(chain_pem), .private_key_pem = std::move(key_pem), .not_after = *not_after};
}

Result<void> check_roots(std::string_view pem) {
  if (auto roots = parse_certificates(pem); !roots) {
    return std::unexpected(std::move(roots.error()));
  }
  return {};
}

}  // namespace sharder::certs
