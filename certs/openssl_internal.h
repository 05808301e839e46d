#pragma once

#include <openssl/ec.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <memory>

#include "base/delete_with.h"
#include "base/pem_internal.h"

// More owning pointers to OpenSSL's objects. For the .cc files of certs/ alone.
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

}  // namespace sharder::certs
