#include "certs/self_managed.h"

#include <doctest/doctest.h>

#include "certs/x509.h"
#include "tests/support/fake_clock.h"

// docs/decisions/0008-serving-certificates.md, "selfManaged"
namespace {

using namespace sharder;
using namespace sharder::certs;
using namespace std::chrono_literals;

ServerCertificate names() {
  return {.common_name = "sharder",
          .dns_names = {"sharder.ns.svc"},
          .ip_addresses = {"10.0.0.1"},
          .now = {},
          .lifetime = {}};
}

struct Case {
  sharder::testing::FakeClock clock;
  ServingSecret secret = made({}, nullptr);

  std::optional<SecretChange> next(const ServingSecret& shown, const ServingSecret* remembered = nullptr,
                                   const ServerCertificate& wanted = names()) const {
    return next_secret(shown, remembered, wanted, clock.wall()).value();
  }
  ServingSecret made(const ServingSecret& shown, const ServingSecret* remembered) const {
    const auto change = next(shown, remembered);
    REQUIRE(change);
    ServingSecret written = change->secret;
    written.resource_version = "1";
    CHECK(is_good(written, clock.wall()));
    CHECK_FALSE(next(written, nullptr));  // and then it is as it should be
    return written;
  }
  std::size_t roots(const ServingSecret& shown) const { return read_certificates(shown.roots_pem).value().size(); }
};

TEST_CASE("without a Secret everything is made, with names and lifetimes as decided") {
  Case c;
  const auto leaf = read_certificates(c.secret.certificate_pem).value().front();
  CHECK(leaf.names == std::vector<std::string>{"sharder.ns.svc", "10.0.0.1"});
  CHECK(leaf.not_after == c.clock.wall() + 90 * 24h);
  CHECK(read_certificates(c.secret.roots_pem).value().front().not_after == c.clock.wall() + 5 * 365 * 24h);
}

TEST_CASE("the certificate is renewed when a third of its time is left, and the CA stays") {
  Case c;
  c.clock.advance(59 * 24h);
  CHECK_FALSE(c.next(c.secret));
  c.clock.advance(24h);
  const ServingSecret renewed = c.made(c.secret, nullptr);
  CHECK(renewed.roots_pem == c.secret.roots_pem);
  CHECK(renewed.root_key_pem == c.secret.root_key_pem);
  CHECK(renewed.certificate_pem != c.secret.certificate_pem);
  CHECK(renewed.private_key_pem != c.secret.private_key_pem);
}

TEST_CASE("a renewal that was missed comes when somebody looks again, also long after the certificate has expired") {
  Case c;
  c.clock.advance(400 * 24h);
  CHECK(c.made(c.secret, nullptr).roots_pem == c.secret.roots_pem);
}

TEST_CASE("the CA is renewed when a third of its time is left: a new pair, and the old root stays until it expires") {
  Case c;
  c.clock.advance(1217 * 24h);
  const ServingSecret renewed = c.made(c.secret, nullptr);
  CHECK(c.roots(renewed) == 2);
  CHECK(renewed.roots_pem.ends_with(c.secret.roots_pem));
  CHECK_FALSE(verifies(renewed.certificate_pem, c.secret.roots_pem, c.clock.wall()));
  c.clock.advance(1217 * 24h);  // the first root has expired
  CHECK(c.roots(c.made(renewed, nullptr)) == 2);
}

TEST_CASE("a damaged Secret is restored from what was good, else made anew; the reason is said without its content") {
  Case c;
  ServingSecret damaged = c.secret;
  SUBCASE("a CA that does not parse") {
    damaged.roots_pem = "MARKER";
  }
  SUBCASE("a key of the CA that does not parse") {
    damaged.root_key_pem = "MARKER";
  }
  SUBCASE("another's key") {
    damaged.private_key_pem = damaged.root_key_pem;
  }
  SUBCASE("a key that does not parse") {
    damaged.private_key_pem = "MARKER";
  }
  SUBCASE("a certificate of another CA") {
    const ServingSecret other = c.made({}, nullptr);
    damaged.certificate_pem = other.certificate_pem;
    damaged.private_key_pem = other.private_key_pem;
  }
  SUBCASE("it is gone") {
    damaged = {};
  }
  const auto change = c.next(damaged, &c.secret);
  REQUIRE(change);
  CHECK_FALSE(change->reason.empty());
  CHECK_FALSE(change->reason.contains("MARKER"));
  CHECK(change->secret.resource_version == damaged.resource_version);
  ServingSecret restored = change->secret;
  restored.resource_version = c.secret.resource_version;
  CHECK(restored == c.secret);
  c.made(damaged, nullptr);
}

TEST_CASE("a value that is absent is a request to renew, although what was good is remembered") {
  Case c;
  ServingSecret asked = c.secret;
  bool of_authority = false;
  SUBCASE("the certificate") {
    asked.certificate_pem.clear();
  }
  SUBCASE("its key") {
    asked.private_key_pem.clear();
  }
  SUBCASE("the CA's key") {
    asked.root_key_pem.clear();
    of_authority = true;
  }
  const auto change = c.next(asked, &c.secret);
  REQUIRE(change);
  CHECK(change->secret.certificate_pem != c.secret.certificate_pem);
  CHECK(change->secret.roots_pem.ends_with(c.secret.roots_pem));
  CHECK((change->secret.roots_pem != c.secret.roots_pem) == of_authority);
}

TEST_CASE("a CA that was made by a clock that was ahead, or that cannot issue, is replaced; the new pair serves") {
  Case c;
  ServingSecret shown = c.secret;
  SUBCASE("not valid yet") {
    const auto ahead = next_secret({}, nullptr, names(), c.clock.wall() + 10h).value()->secret;
    shown.roots_pem = ahead.roots_pem;
    shown.root_key_pem = ahead.root_key_pem;
  }
  SUBCASE("a server certificate in its place") {
    shown.roots_pem = c.secret.certificate_pem;
    shown.root_key_pem = c.secret.private_key_pem;
  }
  c.made(shown, nullptr);
}

TEST_CASE("what was remembered is of no use when it has expired") {
  Case c;
  c.clock.advance(2000 * 24h);
  CHECK(c.made({}, &c.secret).roots_pem != c.secret.roots_pem);
}

TEST_CASE("other names bring another certificate") {
  Case c;
  ServerCertificate wanted = names();
  wanted.dns_names.emplace_back("another.ns.svc");
  const auto change = c.next(c.secret, nullptr, wanted);
  REQUIRE(change);
  CHECK(change->reason == "the webhook has other names");
  CHECK(change->secret.roots_pem == c.secret.roots_pem);
}

TEST_CASE("a name that is not printable ASCII, or too long, is no reason to renew again and again") {
  Case c;
  ServerCertificate wanted = names();
  wanted.dns_names = {
      "b\xc3\xbc"
      "cher.example.com",
      std::string(300, 'x')};
  ServingSecret written = c.next(c.secret, nullptr, wanted)->secret;
  written.resource_version = "1";
  CHECK_FALSE(c.next(written, nullptr, wanted));
}

}  // namespace
