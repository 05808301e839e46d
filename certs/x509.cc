#include "certs/x509.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <chrono>
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

ChainFault to_fault(int error) {
  switch (error) {
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return ChainFault::kNotYetValid;
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return ChainFault::kExpired;
    case X509_V_ERR_INVALID_PURPOSE:
      return ChainFault::kNotForServers;
    default:
      return ChainFault::kUntrusted;
  }
}

std::string to_text(const ASN1_STRING* text) {
  return printable_name(
      {reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)), static_cast<std::size_t>(ASN1_STRING_length(text))});
}

// "10.0.0.1" or "::1"; "" for an address of another length.
std::string to_address(const ASN1_OCTET_STRING* bytes) {
  const int family = ASN1_STRING_length(bytes) == 4 ? AF_INET : AF_INET6;
  std::array<char, INET6_ADDRSTRLEN> text{};
  const bool known = family == AF_INET || ASN1_STRING_length(bytes) == 16;
  return known && inet_ntop(family, ASN1_STRING_get0_data(bytes), text.data(), text.size()) != nullptr ? text.data()
                                                                                                       : "";
}

std::vector<std::string> alternative_names(X509* certificate) {
  std::vector<std::string> names;
  const NamesPtr found(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; i < sk_GENERAL_NAME_num(found.get()); ++i) {
    const GENERAL_NAME* const name = sk_GENERAL_NAME_value(found.get(), i);
    if (name->type == GEN_DNS) {
      names.push_back(to_text(name->d.dNSName));
    } else if (name->type == GEN_IPADD) {
      names.push_back(to_address(name->d.iPAddress));
    }
  }
  return names;
}

}  // namespace

std::string printable_name(std::string_view name) {
  constexpr std::size_t kLongest = 253;
  std::string text(name.substr(0, kLongest));
  std::ranges::replace_if(text, [](char c) { return c < ' ' || c > '~'; }, '?');
  return text;
}

Result<std::vector<CertificateFacts>> read_certificates(std::string_view pem) {
  const auto parsed = parse_certificates(pem);
  if (!parsed) {
    return std::unexpected(parsed.error());
  }
  std::vector<CertificateFacts> found;
  for (const CertificatePtr& one : *parsed) {
    const auto not_before = to_wall_time(X509_get0_notBefore(one.get()));
    const auto not_after = to_wall_time(X509_get0_notAfter(one.get()));
    if (!not_before || !not_after) {
      return fail(ErrorCode::kInvalid, "a certificate's times do not parse");
    }
    found.push_back({.pem = certificate_pem(one.get()),
                     .not_before = *not_before,
                     .not_after = *not_after,
                     .names = alternative_names(one.get())});
  }
  return found;
}

std::optional<ChainFault> chain_fault(std::string_view chain_pem, std::string_view roots_pem, WallTime now) {
  const PemCertificates chain = read_pem_certificates(chain_pem);
  const PemCertificates roots = read_pem_certificates(roots_pem);
  if (chain.certificates.empty() || roots.certificates.empty() || chain.damage || roots.damage) {
    return ChainFault::kUnreadable;
  }
  const StorePtr store(X509_STORE_new());
  const StoreContextPtr context(X509_STORE_CTX_new());
  const StackPtr intermediates(sk_X509_new_null());
  if (!store || !context || !intermediates) {
    return ChainFault::kUnreadable;
  }
  for (const CertificatePtr& root : roots.certificates) {
    X509_STORE_add_cert(store.get(), root.get());
  }
  for (auto link = std::next(chain.certificates.begin()); link != chain.certificates.end(); ++link) {
    sk_X509_push(intermediates.get(), link->get());
  }
  if (X509_STORE_CTX_init(context.get(), store.get(), chain.certificates.front().get(), intermediates.get()) != 1) {
    return ChainFault::kUnreadable;
  }
  X509_STORE_CTX_set_purpose(context.get(), X509_PURPOSE_SSL_SERVER);
  X509_STORE_CTX_set_flags(context.get(), X509_V_FLAG_PARTIAL_CHAIN);
  X509_STORE_CTX_set_time(context.get(), 0, std::chrono::system_clock::to_time_t(now));
  constexpr int kNoSha1 = 1;  // of OpenSSL's levels, the first without it; keys of 1,024 bits are permitted, as in Go
  X509_VERIFY_PARAM_set_auth_level(X509_STORE_CTX_get0_param(context.get()), kNoSha1);
  const bool good = X509_verify_cert(context.get()) == 1;
  ERR_clear_error();
  return good ? std::nullopt : std::optional(to_fault(X509_STORE_CTX_get_error(context.get())));
}

bool covers(std::string_view certificate_pem, const std::string& host) {
  const PemCertificates found = read_pem_certificates(certificate_pem);
  if (found.certificates.empty()) {
    return false;
  }
  X509* const leaf = found.certificates.front().get();
  const std::size_t length = host.ends_with('.') ? host.size() - 1 : host.size();
  constexpr unsigned kFlags = X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS;
  constexpr int kNoAddress = -2;
  int good = X509_check_ip_asc(leaf, host.c_str(), 0);
  if (good == kNoAddress && length > 0) {
    good = X509_check_host(leaf, host.data(), length, kFlags, nullptr);
  }
  ERR_clear_error();
  return good == 1;
}

bool belong_together(std::string_view certificate_pem, std::string_view key_pem) {
  const PemCertificates certificates = read_pem_certificates(certificate_pem);
  const PemKey key = read_pem_key(key_pem);
  const bool good = !certificates.certificates.empty() && key.key &&
                    X509_check_private_key(certificates.certificates.front().get(), key.key.get()) == 1;
  ERR_clear_error();
  return good;
}

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
