#pragma once

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <chrono>
#include <ctime>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "base/delete_with.h"

// Certificates for tests, made in memory: a CA, and what it issues to servers and clients.
//
//   TestCa ca;
//   TestCertificate server = ca.issue({.common_name = "sharder", .ip_addresses = {"127.0.0.1"}});
//
// Every failure is an exception: a test cannot go on without its certificate.
namespace sharder::testing {

enum class TestKey { kEcdsaP256, kRsa2048 };

struct TestCertificate {
  std::string certificate_pem;  // the leaf alone; whoever verifies has TestCa::certificate_pem()
  std::string private_key_pem;  // PKCS#8
};

struct TestCertificateOptions {
  std::string common_name = "localhost";
  std::string organization = {};  // a Kubernetes group, for client certificates
  std::vector<std::string> dns_names = {"localhost"};
  std::vector<std::string> ip_addresses = {"127.0.0.1", "::1"};
  std::chrono::seconds valid_from{-60};  // relative to now
  std::chrono::seconds valid_for{3600};  // relative to now; negative: expired already
  TestKey key = TestKey::kEcdsaP256;
  std::string purposes = "serverAuth,clientAuth";  // "": no extended key usage, which means any
};

namespace detail {

using KeyPtr = std::unique_ptr<EVP_PKEY, DeleteWith<EVP_PKEY_free>>;
using CertificatePtr = std::unique_ptr<X509, DeleteWith<X509_free>>;
using BioPtr = std::unique_ptr<BIO, DeleteWith<BIO_free_all>>;
using ExtensionPtr = std::unique_ptr<X509_EXTENSION, DeleteWith<X509_EXTENSION_free>>;

inline void require(bool ok, const char* what) {
  if (!ok) {
    throw std::runtime_error(std::string("test certificate: ") + what);
  }
}

inline KeyPtr make_key(TestKey kind) {
  KeyPtr key(kind == TestKey::kEcdsaP256 ? EVP_EC_gen("P-256") : EVP_RSA_gen(2048));
  require(key != nullptr, "generate key");
  return key;
}

template <class Write>
std::string to_pem(Write write) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  require(bio != nullptr && write(bio.get()) == 1, "write PEM");
  char* text = nullptr;
  const long length = BIO_get_mem_data(bio.get(), &text);
  return std::string(text, static_cast<std::size_t>(length));
}

inline void add_name(X509_NAME* name, const char* field, const std::string& value) {
  require(X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(value.c_str()),
                                     -1, -1, 0) == 1,
          "set name");
}

inline void add_extension(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const ExtensionPtr extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
  require(extension != nullptr && X509_add_ext(certificate, extension.get(), -1) == 1, "add extension");
}

// An unsigned certificate for `key` with a random serial number.
inline CertificatePtr make_certificate(EVP_PKEY* key, const TestCertificateOptions& options) {
  CertificatePtr certificate(X509_new());
  require(certificate != nullptr, "allocate");
  X509_set_version(certificate.get(), X509_VERSION_3);
  const std::unique_ptr<BIGNUM, DeleteWith<BN_free>> serial(BN_new());
  require(serial && BN_rand(serial.get(), 63, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
              BN_to_ASN1_INTEGER(serial.get(), X509_get_serialNumber(certificate.get())) != nullptr,
          "set serial");
  const std::time_t now = std::time(nullptr);
  ASN1_TIME_set(X509_getm_notBefore(certificate.get()), now + options.valid_from.count());
  ASN1_TIME_set(X509_getm_notAfter(certificate.get()), now + options.valid_for.count());
  X509_NAME* subject = X509_get_subject_name(certificate.get());
  if (!options.organization.empty()) {
    add_name(subject, "O", options.organization);
  }
  add_name(subject, "CN", options.common_name);
  require(X509_set_pubkey(certificate.get(), key) == 1, "set key");
  return certificate;
}

inline void sign(X509* certificate, X509_NAME* issuer, EVP_PKEY* key) {
  X509_set_issuer_name(certificate, issuer);
  require(X509_sign(certificate, key, EVP_sha256()) > 0, "sign");
}

inline std::string certificate_pem(X509* certificate) {
  return to_pem([&](BIO* bio) { return PEM_write_bio_X509(bio, certificate); });
}

inline std::string key_pem(EVP_PKEY* key) {
  return to_pem([&](BIO* bio) { return PEM_write_bio_PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr); });
}

}  // namespace detail

// A self-signed CA (P-256) that lives as long as the test. Not for use by two threads at once.
class TestCa {
 public:
  explicit TestCa(std::string common_name = "test-ca", std::chrono::seconds valid_for = std::chrono::hours(1))
      : key_(detail::make_key(TestKey::kEcdsaP256)) {
    certificate_ =
        detail::make_certificate(key_.get(), {.common_name = std::move(common_name), .valid_for = valid_for});
    X509* self = certificate_.get();
    detail::add_extension(self, self, NID_basic_constraints, "critical,CA:TRUE");
    detail::add_extension(self, self, NID_key_usage, "critical,keyCertSign,cRLSign");
    detail::add_extension(self, self, NID_subject_key_identifier, "hash");
    detail::sign(self, X509_get_subject_name(self), key_.get());
  }

  std::string certificate_pem() const { return detail::certificate_pem(certificate_.get()); }
  std::string private_key_pem() const { return detail::key_pem(key_.get()); }

  // A certificate for servers and clients alike, if `options` do not say otherwise.
  TestCertificate issue(const TestCertificateOptions& options = {}) const {
    const detail::KeyPtr key = detail::make_key(options.key);
    const detail::CertificatePtr leaf = detail::make_certificate(key.get(), options);
    detail::add_extension(leaf.get(), certificate_.get(), NID_basic_constraints, "critical,CA:FALSE");
    detail::add_extension(leaf.get(), certificate_.get(), NID_key_usage, "critical,digitalSignature,keyEncipherment");
    if (!options.purposes.empty()) {
      detail::add_extension(leaf.get(), certificate_.get(), NID_ext_key_usage, options.purposes);
    }
    detail::add_extension(leaf.get(), certificate_.get(), NID_authority_key_identifier, "keyid");
    std::string names;
    for (const auto& name : options.dns_names) {
      names += (names.empty() ? "DNS:" : ",DNS:") + name;
    }
    for (const auto& address : options.ip_addresses) {
      names += (names.empty() ? "IP:" : ",IP:") + address;
    }
    if (!names.empty()) {
      detail::add_extension(leaf.get(), certificate_.get(), NID_subject_alt_name, names);
    }
    detail::sign(leaf.get(), X509_get_subject_name(certificate_.get()), key_.get());
    return {.certificate_pem = detail::certificate_pem(leaf.get()), .private_key_pem = detail::key_pem(key.get())};
  }

 private:
  detail::KeyPtr key_;
  detail::CertificatePtr certificate_;
};

}  // namespace sharder::testing
