#include "certs/webhook_trust.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "base/clock.h"
#include "tests/support/test_certificate.h"

// docs/protocol.md, section 5: what the condition WebhookReachable says.
namespace {

using namespace sharder;
using namespace sharder::certs;
using namespace std::chrono_literals;
using sharder::testing::TestCa;
using sharder::testing::TestCertificate;

constexpr const char* kHost = "sharder.sharding-system.svc";
constexpr const char* kDamaged = "-----BEGIN CERTIFICATE-----\nQZQZ\n-----END CERTIFICATE-----\n";

TestCertificate serving(const TestCa& ca, sharder::testing::TestCertificateOptions options = {}) {
  options.dns_names = {kHost};
  return ca.issue(options);
}

std::string reason(const TestCertificate& shown, const std::string& roots, const std::string& host = kHost,
                   std::chrono::seconds later = 0s) {
  const auto found = distrust(shown.certificate_pem, roots, host, SystemClock().wall() + later);
  if (!found) {
    return "";
  }
  CHECK_FALSE(found->message.empty());
  CHECK_FALSE(found->message.contains("QZ"));
  CHECK_FALSE(found->message.contains("BEGIN"));
  return found->reason;
}

TEST_CASE("a mismatch of caBundle and certificate has a reason (protocol, 5)") {
  const TestCa ca, other;
  const std::string roots = ca.certificate_pem();
  CHECK(reason(serving(ca), roots).empty());
  CHECK(reason(serving(ca), other.certificate_pem() + roots).empty());
  CHECK(reason(serving(ca), kDamaged + roots).empty());  // as in Go
  CHECK(reason(serving(ca), other.certificate_pem()) == "CertificateNotTrusted");
  CHECK(reason(serving(ca), "nonsense") == "InvalidCABundle");
  CHECK(reason(serving(ca), kDamaged) == "InvalidCABundle");
  CHECK(reason(serving(ca), roots, "other.sharding-system.svc") == "NameNotCovered");
  CHECK(reason(serving(ca), roots, "10.1.2.3") == "NameNotCovered");
  CHECK(reason(serving(ca, {.purposes = "clientAuth"}), roots) == "WrongPurpose");
  CHECK(reason({}, roots) == "CertificateUnreadable");
}

TEST_CASE("times count by the given clock: not yet, in time, expired (protocol, 5)") {
  const TestCa ca("ca", 2h);
  const TestCertificate shown = serving(ca, {.valid_for = 1h});
  CHECK(reason(shown, ca.certificate_pem(), kHost, -1h) == "CertificateNotYetValid");
  CHECK(reason(shown, ca.certificate_pem(), kHost, 59min).empty());
  CHECK(reason(shown, ca.certificate_pem(), kHost, 61min) == "CertificateExpired");
  const TestCa short_ca("ca", 30min);
  CHECK(reason(serving(short_ca, {.valid_for = 1h}), short_ca.certificate_pem(), kHost, 45min) == "CertificateExpired");
}

TEST_CASE("without roots, names and times alone are judged") {
  const TestCa ca;
  CHECK(reason(serving(ca), "").empty());
  CHECK(reason(serving(ca), "", "other") == "NameNotCovered");
  CHECK(reason(serving(ca), "", kHost, 2h) == "CertificateExpired");
}

TEST_CASE("a message names what is wrong and what to do, and of many names only some") {
  const TestCa ca;
  std::vector<std::string> many;
  many.reserve(100);
  for (int i = 0; i < 100; ++i) {
    many.push_back("name-" + std::to_string(i));
  }
  const auto message = [&](const std::vector<std::string>& names) {
    return distrust(ca.issue({.dns_names = names, .ip_addresses = {}}).certificate_pem, "", kHost, SystemClock().wall())
        ->message;
  };
  CHECK(
      message({"a", "b"}) ==
      "the API server calls sharder.sharding-system.svc, and the webhook's certificate is for a, b; issue one that is "
      "also for sharder.sharding-system.svc");
  CHECK(message({}).contains("is for no name;"));
  CHECK(message(many).contains("name-7, ...;"));
}

TEST_CASE("a message is short ASCII, whatever bytes the certificate and the host have: it goes into JSON") {
  const TestCa ca;
  const std::vector<std::string> names(100, std::string(1000, '\xff'));
  const auto found =
      distrust(ca.issue({.dns_names = names, .ip_addresses = {}}).certificate_pem, "", "h\xff", SystemClock().wall());
  REQUIRE(found);
  CHECK(found->reason == "NameNotCovered");
  CHECK(found->message.contains("calls h?, "));
  CHECK(std::ranges::all_of(found->message, [](char c) { return c >= ' ' && c <= '~'; }));
  CHECK(found->message.size() < 4096);
}

}  // namespace
