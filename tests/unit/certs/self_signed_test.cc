#include "certs/self_signed.h"

#include <doctest/doctest.h>

#include "tests/support/test_certificate.h"

// protocol, 7: the metrics port signs its own certificate when no files are given.
namespace {

using namespace sharder;
using namespace sharder::certs;
using namespace sharder::testing::detail;

CertificatePtr parse(const std::string& pem) {
  const BioPtr bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  return CertificatePtr(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
}

TEST_CASE("a self-signed certificate names localhost and verifies with itself") {
  const auto identity = self_signed_identity(SystemClock());
  REQUIRE(identity);
  const CertificatePtr certificate = parse(identity->certificate_chain_pem);
  REQUIRE(certificate);
  CHECK(X509_check_host(certificate.get(), "localhost", 0, 0, nullptr) == 1);
  CHECK(X509_check_ip_asc(certificate.get(), "127.0.0.1", 0) == 1);
  CHECK(X509_check_ip_asc(certificate.get(), "::1", 0) == 1);
  CHECK(X509_check_host(certificate.get(), "example.com", 0, 0, nullptr) == 0);
  EVP_PKEY* const key = X509_get0_pubkey(certificate.get());
  CHECK(EVP_PKEY_get_base_id(key) == EVP_PKEY_EC);
  CHECK(EVP_PKEY_get_bits(key) == 256);
  CHECK(X509_verify(certificate.get(), key) == 1);
  CHECK(X509_cmp_current_time(X509_get0_notBefore(certificate.get())) < 0);
  CHECK((X509_get_extended_key_usage(certificate.get()) & XKU_SSL_SERVER) != 0);
}

TEST_CASE("two self-signed certificates share neither key nor serial number") {
  const auto first = self_signed_identity(SystemClock());
  const auto second = self_signed_identity(SystemClock());
  REQUIRE(first);
  REQUIRE(second);
  CHECK(first->private_key_pem != second->private_key_pem);
  CHECK(ASN1_INTEGER_cmp(X509_get0_serialNumber(parse(first->certificate_chain_pem).get()),
                         X509_get0_serialNumber(parse(second->certificate_chain_pem).get())) != 0);
}

}  // namespace
