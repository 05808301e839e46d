#include "kube/codec/pem.h"

#include <doctest/doctest.h>

#include "tests/support/test_certificate.h"

namespace sharder::kube {
namespace {

using testing::TestCa;

TEST_CASE("certificates are counted and must be readable") {
  const TestCa a;
  const TestCa b;
  CHECK(check_certificates(a.certificate_pem()));
  CHECK(check_certificates("# comment\n" + a.certificate_pem() + b.certificate_pem()));
  CHECK(check_certificates("").error().message == "no certificate in it");
  CHECK(check_certificates("hello").error().message == "no certificate in it");
  std::string damaged = b.certificate_pem();
  damaged.replace(100, 8, "AAAAAAAA");
  damaged.replace(200, 4, "!!!!");
  CHECK(check_certificates(a.certificate_pem() + damaged).error().message == "certificate 2 is damaged");
}

TEST_CASE("of a bundle of authorities the damaged ones are left out, as in Go") {
  const TestCa a;
  const TestCa b;
  std::string damaged = b.certificate_pem();
  damaged.replace(100, 8, "AAAAAAAA");
  std::string unreadable = b.certificate_pem();
  unreadable.replace(200, 4, "!!!!");
  const std::string without_end = b.certificate_pem().substr(0, 200) + "\n";
  const auto bundle = read_ca_bundle("# comment\n" + a.certificate_pem() + damaged + b.private_key_pem() + unreadable +
                                     without_end + b.certificate_pem());
  REQUIRE(bundle);
  CHECK(bundle->pem == a.certificate_pem() + b.certificate_pem());
  CHECK(bundle->damaged == 2);
  CHECK(read_ca_bundle("").error().message == "no certificate in it");
  CHECK(read_ca_bundle(b.private_key_pem()).error().message == "no certificate in it");
  CHECK(read_ca_bundle(damaged).error().message == "the certificates in it are damaged");
}

TEST_CASE("a certificate and its key belong together") {
  const TestCa ca;
  const auto one = ca.issue();
  const auto two = ca.issue();
  CHECK(check_key_pair(one.certificate_pem, one.private_key_pem));
  CHECK(check_key_pair(one.certificate_pem + ca.certificate_pem(), one.private_key_pem));
  CHECK(check_key_pair(one.certificate_pem, two.private_key_pem).error().message == "certificate and key do not match");
  CHECK(check_key_pair("", one.private_key_pem).error().message == "no certificate in it");
  CHECK(check_key_pair(one.certificate_pem, "").error().message == "no private key in it");
}

TEST_CASE("an encrypted key is an error, and nobody is asked for a passphrase") {
  const TestCa ca;
  const auto leaf = ca.issue();
  const std::unique_ptr<BIO, decltype(&BIO_free_all)> in(BIO_new_mem_buf(leaf.private_key_pem.data(), -1),
                                                         BIO_free_all);
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(
      PEM_read_bio_PrivateKey(in.get(), nullptr, nullptr, nullptr), EVP_PKEY_free);
  const std::unique_ptr<BIO, decltype(&BIO_free_all)> out(BIO_new(BIO_s_mem()), BIO_free_all);
  PEM_write_bio_PKCS8PrivateKey(out.get(), key.get(), EVP_aes_128_cbc(), "secret", 6, nullptr, nullptr);
  char* text = nullptr;
  const long size = BIO_get_mem_data(out.get(), &text);
  CHECK(check_key_pair(leaf.certificate_pem, std::string(text, static_cast<std::size_t>(size))).error().message ==
        "the private key is encrypted");
}

}  // namespace
}  // namespace sharder::kube
