#pragma once

#include <openssl/ec.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <cstddef>
#include <memory>
#include <string>

#include "base/delete_with.h"
#include "base/pem_internal.h"

// More owning pointers to OpenSSL's objects, and the way back to PEM. For the .cc files of certs/ alone.
namespace sharder::certs {

using ExtensionPtr = std::unique_ptr<X509_EXTENSION, DeleteWith<X509_EXTENSION_free>>;
using BignumPtr = std::unique_ptr<BIGNUM, DeleteWith<BN_free>>;
using NamesPtr = std::unique_ptr<GENERAL_NAMES, DeleteWith<GENERAL_NAMES_free>>;
using StorePtr = std::unique_ptr<X509_STORE, DeleteWith<X509_STORE_free>>;
using StoreContextPtr = std::unique_ptr<X509_STORE_CTX, DeleteWith<X509_STORE_CTX_free>>;
struct FreeStack {
  void operator()(STACK_OF(X509) * stack) const { sk_X509_free(stack); }  // not its certificates
};
using StackPtr = std::unique_ptr<STACK_OF(X509), FreeStack>;
using ContextPtr = std::unique_ptr<SSL_CTX, DeleteWith<SSL_CTX_free>>;

// What `write` (one of OpenSSL's PEM_write_bio_ functions) writes; "" when it fails.
template <class Write>
std::string to_pem(Write write) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  char* text = nullptr;
  if (!bio || write(bio.get()) != 1) {
    return {};
  }
  const long length = BIO_get_mem_data(bio.get(), &text);
  return {text, static_cast<std::size_t>(length)};
}

inline std::string certificate_pem(X509* certificate) {
  return to_pem([&](BIO* bio) { return PEM_write_bio_X509(bio, certificate); });
}

}  // namespace sharder::certs
