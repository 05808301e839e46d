#pragma once

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/delete_with.h"

// Owning pointers to OpenSSL's objects, and functions that read PEM with it. For .cc files of folders that link
// OpenSSL.
namespace sharder {

using BioPtr = std::unique_ptr<BIO, DeleteWith<BIO_free_all>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, DeleteWith<EVP_PKEY_free>>;
using CertificatePtr = std::unique_ptr<X509, DeleteWith<X509_free>>;

// The reason of OpenSSL's oldest error on this thread, or "no reason given"; clears all its errors. The words are from
// OpenSSL's table. The data of an error is left out, because it may quote the input.
inline std::string take_openssl_error() {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  const char* const reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  return reason == nullptr ? "no reason given" : reason;
}

// A view of `text` to read PEM from; `text` outlives it.
inline BioPtr read_from(std::string_view text) {
  ERR_clear_error();
  return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(std::min<std::size_t>(text.size(), 1U << 30U))));
}

// Without such a callback OpenSSL asks for a passphrase at the terminal. We have none; -1 makes it give up.
inline int no_passphrase(char* /*buffer*/, int /*size*/, int /*writing*/, void* asked) {
  *static_cast<bool*>(asked) = true;
  return -1;
}

// The certificates of a text in their order, up to the first damaged one. Other text is skipped.
struct PemCertificates {
  std::vector<CertificatePtr> certificates;
  std::optional<std::string> damage;  // why the next one does not parse, in OpenSSL's words
};
inline PemCertificates read_pem_certificates(std::string_view pem) {
  const BioPtr bio = read_from(pem);
  PemCertificates found;
  bool asked = false;
  while (X509* const next = PEM_read_bio_X509(bio.get(), nullptr, no_passphrase, &asked)) {
    found.certificates.emplace_back(next);
  }
  // The end of the text is reported as a missing start line, too.
  const unsigned long last = ERR_peek_last_error();
  if (ERR_GET_LIB(last) != ERR_LIB_PEM || ERR_GET_REASON(last) != PEM_R_NO_START_LINE) {
    found.damage = take_openssl_error();
  }
  ERR_clear_error();
  return found;
}

// The first private key of a text.
struct PemKey {
  KeyPtr key;  // null when there is no readable key
  bool encrypted = false;
  std::string damage;  // why there is no key, in OpenSSL's words
};
inline PemKey read_pem_key(std::string_view pem) {
  const BioPtr bio = read_from(pem);
  PemKey found;
  found.key.reset(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, &found.encrypted));
  if (!found.key) {
    found.damage = take_openssl_error();
  }
  ERR_clear_error();
  return found;
}

}  // namespace sharder
