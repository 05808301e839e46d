#include "kube/codec/pem.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <algorithm>
#include <memory>

#include "base/delete_with.h"

namespace sharder::kube {

namespace {

using Bio = std::unique_ptr<BIO, DeleteWith<BIO_free>>;
using Certificate = std::unique_ptr<X509, DeleteWith<X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, DeleteWith<EVP_PKEY_free>>;

Bio open(std::string_view text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(std::min<std::size_t>(text.size(), 1U << 30U))));
}

// Instead of OpenSSL's own, which asks on the terminal.
int no_passphrase(char* /*buffer*/, int /*size*/, int /*writing*/, void* user) {
  *static_cast<bool*>(user) = true;
  return -1;
}

// The first certificate of a text in which all must be readable.
Result<Certificate> read_certificates(std::string_view pem) {
  const Bio bio = open(pem);
  Certificate first;
  for (int count = 1;; ++count) {
    ERR_clear_error();
    bool asked = false;
    Certificate next(PEM_read_bio_X509(bio.get(), nullptr, &no_passphrase, &asked));
    if (!next) {
      const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
      ERR_clear_error();
      if (!at_end) {
        return fail(ErrorCode::kInvalid, "certificate " + std::to_string(count) + " is damaged");
      }
      if (!first) {
        return fail(ErrorCode::kInvalid, "no certificate in it");
      }
      return first;
    }
    if (!first) {
      first = std::move(next);
    }
  }
}

}  // namespace

Result<void> check_certificates(std::string_view pem) {
  if (auto certificate = read_certificates(pem); !certificate) {
    return std::unexpected(std::move(certificate.error()));
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
  const auto certificate = read_certificates(certificate_pem);
  if (!certificate) {
    return std::unexpected(certificate.error());
  }
  const Bio bio = open(key_pem);
  bool encrypted = false;
  const Key key(PEM_read_bio_PrivateKey(bio.get(), nullptr, &no_passphrase, &encrypted));
  const bool matching = key && X509_check_private_key(certificate->get(), key.get()) == 1;
  ERR_clear_error();
  if (encrypted) {
    return fail(ErrorCode::kInvalid, "the private key is encrypted");
  }
  if (!key) {
    return fail(ErrorCode::kInvalid, "no private key in it");
  }
  if (!matching) {
    return fail(ErrorCode::kInvalid, "certificate and key do not match");
  }
  return {};
}

}  // namespace sharder::kube
