#pragma once

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>
#include <string_view>

#include "base/delete_with.h"

// OpenSSL's objects with an owner. For the .cc files of certs/ alone.
namespace sharder::certs {

using BioPtr = std::unique_ptr<BIO, DeleteWith<BIO_free_all>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, DeleteWith<EVP_PKEY_free>>;
using CertificatePtr = std::unique_ptr<X509, DeleteWith<X509_free>>;
using ExtensionPtr = std::unique_ptr<X509_EXTENSION, DeleteWith<X509_EXTENSION_free>>;
using BignumPtr = std::unique_ptr<BIGNUM, DeleteWith<BN_free>>;
using ContextPtr = std::unique_ptr<SSL_CTX, DeleteWith<SSL_CTX_free>>;

// A view of `text` to read PEM from; `text` outlives it.
inline BioPtr read_from(std::string_view text) {
  return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

// What OpenSSL says of its oldest error on this thread, "no reason given" without one; forgets them all. Words from its
// table: the data of an error, which may quote what was read, is left out.
inline std::string take_openssl_error() {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  const char* const reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  return reason == nullptr ? "no reason given" : reason;
}

}  // namespace sharder::certs
