#include "certs/x509.h"

#include <doctest/doctest.h>

#include "base/pem_internal.h"
#include "tests/support/test_certificate.h"

// docs/design.md, section 7: a pair that cannot serve is an error before a listener sees it.
namespace {

using namespace sharder;
using namespace sharder::certs;
using sharder::testing::TestCa;
using sharder::testing::TestCertificate;
using sharder::testing::TestKey;

const PairNames kNames{.certificate = "tls.crt", .key = "tls.key"};

std::string encrypted_key() {
  const sharder::testing::detail::KeyPtr key(EVP_EC_gen("P-256"));
  return sharder::testing::detail::to_pem([&](BIO* bio) {
    return PEM_write_bio_PrivateKey(bio, key.get(), EVP_aes_128_cbc(), reinterpret_cast<const unsigned char*>("secret"),
                                    6, nullptr, nullptr);
  });
}

TestCertificate weak_pair() {
  const sharder::testing::detail::KeyPtr key(EVP_RSA_gen(1024));
  const auto certificate = sharder::testing::detail::make_certificate(key.get(), {});
  sharder::testing::detail::sign(certificate.get(), X509_get_subject_name(certificate.get()), key.get());
  return {.certificate_pem = sharder::testing::detail::certificate_pem(certificate.get()),
          .private_key_pem = sharder::testing::detail::key_pem(key.get())};
}

TEST_CASE("a chain with its key is an identity, and it knows when it expires") {
  const TestCa ca;
  for (const TestKey key : {TestKey::kEcdsaP256, TestKey::kRsa2048}) {
    const TestCertificate pair = ca.issue({.valid_for = std::chrono::hours(2), .key = key});
    const std::string chain = pair.certificate_pem + ca.certificate_pem();
    const auto identity = make_identity(chain, pair.private_key_pem, kNames);
    REQUIRE(identity);
    CHECK(identity->certificate_chain_pem == chain);
    CHECK(identity->private_key_pem == pair.private_key_pem);
    const auto left = identity->not_after - SystemClock().wall();
    CHECK(left > std::chrono::minutes(115));
    CHECK(left <= std::chrono::hours(2));
  }
}

TEST_CASE("an expired leaf is still an identity") {
  const TestCertificate pair = TestCa().issue({.valid_for = std::chrono::seconds(-10)});
  const auto identity = make_identity(pair.certificate_pem, pair.private_key_pem, kNames);
  REQUIRE(identity);
  CHECK(identity->not_after < SystemClock().wall());
}

TEST_CASE("a pair that cannot serve is an error that names the half that is wrong") {
  const TestCa ca;
  const TestCertificate pair = ca.issue();
  const TestCertificate other = ca.issue();
  const TestCertificate weak = weak_pair();
  const std::string garbled = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
  const std::string garbled_key = "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n";
  struct Case {
    std::string chain, key, message;
  };
  const Case cases[] = {
      {"", pair.private_key_pem, "tls.crt: holds no PEM certificate"},
      {"hello", pair.private_key_pem, "tls.crt: holds no PEM certificate"},
      {pair.private_key_pem, pair.private_key_pem, "tls.crt: holds no PEM certificate"},
      {garbled, pair.private_key_pem, "tls.crt: certificate 1 does not parse: "},
      {pair.certificate_pem + garbled, pair.private_key_pem, "tls.crt: certificate 2 does not parse: "},
      {pair.certificate_pem.substr(0, pair.certificate_pem.size() / 2), pair.private_key_pem,
       "tls.crt: certificate 1 does not parse: "},
      {pair.certificate_pem, "", "tls.key: holds no PEM private key"},
      {pair.certificate_pem, pair.certificate_pem, "tls.key: holds no PEM private key"},
      {pair.certificate_pem, garbled_key, "tls.key: the private key does not parse: "},
      {pair.certificate_pem, encrypted_key(), "tls.key: the private key is encrypted, which is not supported"},
      {pair.certificate_pem, other.private_key_pem,
       "tls.key: the private key does not belong to the certificate in tls.crt"},
      {weak.certificate_pem, weak.private_key_pem, "tls.crt: cannot serve this certificate: "},
      {pair.certificate_pem + weak.certificate_pem, pair.private_key_pem, "tls.crt: cannot serve this chain: "},
  };
  for (const Case& c : cases) {
    CAPTURE(c.message);
    const auto identity = make_identity(c.chain, c.key, kNames);
    REQUIRE_FALSE(identity);
    CHECK(identity.error().code == ErrorCode::kInvalid);
    INFO(identity.error().message);
    CHECK(identity.error().message.starts_with(c.message));
  }
}

TEST_CASE("a key that does not serve is not quoted (design, 6.12)") {
  const TestCertificate pair = TestCa().issue();
  for (const char* const body : {"QZQZQZ", "-----BEGIN PRIVATE KEY-----\nQZQZQZQZ\n-----END PRIVATE KEY-----\n",
                                 "-----BEGIN PRIVATE KEY-----\nQZ QZ?\n-----END PRIVATE KEY-----\n",
                                 "-----BEGIN PRIVATE KEY-----\nQZQZQZQZ", "-----BEGIN QZQZ PRIVATE KEY-----\nQZQZ"}) {
    CAPTURE(body);
    const auto identity = make_identity(pair.certificate_pem, body, kNames);
    REQUIRE_FALSE(identity);
    CHECK(identity.error().message.starts_with("tls.key: "));
    CHECK_FALSE(identity.error().message.contains("QZ"));
    const auto swapped = make_identity(body, pair.private_key_pem, kNames);
    REQUIRE_FALSE(swapped);
    CHECK_FALSE(swapped.error().message.contains("QZ"));
  }
}

TEST_CASE("what keeps a client from accepting a chain has a name") {
  const TestCa ca, other;
  const WallTime now = SystemClock().wall();
  const auto fault = [&](const TestCertificate& certificate, const std::string& roots, std::chrono::hours later = {}) {
    return chain_fault(certificate.certificate_pem, roots, now + later);
  };
  const TestCertificate good = ca.issue({.valid_for = std::chrono::hours(2)});
  CHECK(fault(good, ca.certificate_pem()) == std::nullopt);
  CHECK(fault(good, other.certificate_pem() + ca.certificate_pem()) == std::nullopt);
  CHECK(fault(good, good.certificate_pem) == std::nullopt);  // as in Go: every certificate is trusted by itself
  CHECK(fault(good, other.certificate_pem()) == ChainFault::kUntrusted);
  CHECK(fault(good, TestCa().certificate_pem()) == ChainFault::kUntrusted);  // another key, the same name
  CHECK(fault(good, "nonsense") == ChainFault::kUnreadable);
  CHECK(fault({}, ca.certificate_pem()) == ChainFault::kUnreadable);
  CHECK(fault(good, ca.certificate_pem(), std::chrono::hours(3)) == ChainFault::kExpired);
  CHECK(fault(good, ca.certificate_pem(), std::chrono::hours(-1)) == ChainFault::kNotYetValid);
  CHECK(fault(ca.issue({.purposes = "clientAuth"}), ca.certificate_pem()) == ChainFault::kNotForServers);
}

// The same certificate with a signature of `ca` that uses SHA-1.
TestCertificate signed_with_sha1(const TestCertificate& certificate, const TestCa& ca) {
  const PemCertificates found = read_pem_certificates(certificate.certificate_pem);
  const PemKey key = read_pem_key(ca.private_key_pem());
  REQUIRE(X509_sign(found.certificates.at(0).get(), key.key.get(), EVP_sha1()) > 0);
  return {.certificate_pem = sharder::testing::detail::certificate_pem(found.certificates.at(0).get()),
          .private_key_pem = certificate.private_key_pem};
}

TEST_CASE("a signature with SHA-1 is not accepted, as in Go; the keys that are in use are") {
  const TestCa ca;
  const WallTime now = SystemClock().wall();
  for (const TestKey key : {TestKey::kEcdsaP256, TestKey::kRsa2048}) {
    const TestCertificate good = ca.issue({.key = key});
    CHECK(chain_fault(good.certificate_pem, ca.certificate_pem(), now) == std::nullopt);
    const TestCertificate old = signed_with_sha1(good, ca);
    CHECK(chain_fault(old.certificate_pem, ca.certificate_pem(), now) == ChainFault::kUntrusted);
    CHECK(chain_fault(old.certificate_pem, old.certificate_pem, now) == std::nullopt);  // it is trusted by itself
  }
}

TEST_CASE("names of a certificate are printable ASCII and of bounded length, whatever bytes it has") {
  const TestCa ca;
  const std::string pem =
      ca.issue({.dns_names = {"a\xff\xfe.example.com", "b\x7f\x01\xc3\xa4", std::string(1000, 'c'), "d~!"},
                .ip_addresses = {}})
          .certificate_pem;
  const auto facts = read_certificates(pem);
  REQUIRE(facts);
  CHECK(facts->front().names == std::vector<std::string>{"a??.example.com", "b????", std::string(253, 'c'), "d~!"});
}

TEST_CASE("a certificate covers its alternative names, as in Go") {
  const TestCa ca;
  const std::string pem = ca.issue({.common_name = "common.example.com",
                                    .dns_names = {"sharder.sharding-system.svc", "*.wild.example.com"},
                                    .ip_addresses = {"10.0.0.1", "fd00::1"}})
                              .certificate_pem;
  for (const char* const host :
       {"sharder.sharding-system.svc", "SHARDER.sharding-system.SVC", "sharder.sharding-system.svc.",
        "a.wild.example.com", "10.0.0.1", "fd00::1", "fd00:0:0::1"}) {
    CAPTURE(std::string(host));
    CHECK(covers(pem, host));
  }
  for (const char* const host : {"", ".", "common.example.com", "sharder", "sharder.sharding-system", "10.0.0.2",
                                 "a.b.wild.example.com", "wild.example.com", "xsharder.sharding-system.svc"}) {
    CAPTURE(std::string(host));
    CHECK_FALSE(covers(pem, host));
  }
  CHECK_FALSE(covers(ca.issue({.dns_names = {"10.0.0.1"}, .ip_addresses = {}}).certificate_pem, "10.0.0.1"));
  CHECK_FALSE(covers(ca.issue({.common_name = "alone", .dns_names = {}, .ip_addresses = {}}).certificate_pem, "alone"));
  CHECK_FALSE(covers("nonsense", "sharder.sharding-system.svc"));
}

TEST_CASE("roots are one PEM certificate or more, and all of them parse") {
  const TestCa first, second;
  CHECK(check_roots(first.certificate_pem()));
  CHECK(check_roots("# a comment\n" + first.certificate_pem() + "\n" + second.certificate_pem()));
  CHECK(check_roots("").error().message == "holds no PEM certificate");
  CHECK_FALSE(check_roots(first.certificate_pem() + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"));
}

}  // namespace
