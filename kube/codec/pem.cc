#include "kube/codec/pem.h"

#include "base/pem_internal.h"

namespace sharder::kube {

namespace {

// The certificates in `pem`: at least one, and all must be readable.
Result<std::vector<CertificatePtr>> read_certificates(std::string_view pem) {
  PemCertificates found = read_pem_certificates(pem);
  if (found.damage) {
    return fail(ErrorCode::kInvalid, "certificate " + std::to_string(found.certificates.size() + 1) + " is damaged");
  }
  if (found.certificates.empty()) {
    return fail(ErrorCode::kInvalid, "no certificate in it");
  }
  return std::move(found.certificates);
}

}  // namespace

Result<void> check_certificates(std::string_view pem) {
  if (auto certificates = read_certificates(pem); !certificates) {
    return std::unexpected(std::move(certificates.error()));
  }
  return {};
}

Result<CaBundle> read_ca_bundle(std::string_view pem) {
  constexpr std::string_view kBegin = "-----BEGIN CERTIFICATE-----";
  constexpr std::string_view kEnd = "-----END CERTIFICATE-----";
  CaBundle bundle;
  for (auto end = pem.find(kEnd); end != std::string_view::npos; end = pem.find(kEnd)) {
    const auto begin = pem.rfind(kBegin, end);
    if (begin != std::string_view::npos) {
      const std::string_view block = pem.substr(begin, end + kEnd.size() - begin);
      if (read_certificates(block)) {
        bundle.pem.append(block).append("\n");
      } else {
        ++bundle.damaged;
      }
    }
    pem.remove_prefix(end + kEnd.size());
  }
  if (bundle.pem.empty()) {
    return fail(ErrorCode::kInvalid,
                bundle.damaged == 0 ? "no certificate in it" : "the certificates in it are damaged");
  }
  return bundle;
}

Result<void> check_key_pair(std::string_view certificate_pem, std::string_view key_pem) {
  const auto certificates = read_certificates(certificate_pem);
  if (!certificates) {
    return std::unexpected(certificates.error());
  }
  const PemKey found = read_pem_key(key_pem);
  if (found.encrypted) {
    return fail(ErrorCode::kInvalid, "the private key is encrypted");
  }
  if (!found.key) {
    return fail(ErrorCode::kInvalid, "no private key in it");
  }
  const bool matching = X509_check_private_key(certificates->front().get(), found.key.get()) == 1;
  ERR_clear_error();
  if (!matching) {
    return fail(ErrorCode::kInvalid, "certificate and key do not match");
  }
  return {};
}

}  // namespace sharder::kube
