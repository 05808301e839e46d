#include "certs/authority.h"

#include <doctest/doctest.h>

#include "certs/x509.h"
#include "tests/support/fake_clock.h"

// docs/decisions/0008-serving-certificates.md
namespace {

using namespace sharder;
using namespace sharder::certs;
using sharder::testing::FakeClock;
using namespace std::chrono_literals;

ServerCertificate server(WallTime now, std::chrono::seconds lifetime = 24h) {
  return {.common_name = "sharder",
          .dns_names = {"sharder.ns.svc", "sharder.ns"},
          .ip_addresses = {"10.1.2.3", "::1"},
          .now = now,
          .lifetime = lifetime};
}

TEST_CASE("a certificate that an authority issues verifies with that authority alone, while both are valid") {
  const FakeClock clock;
  const WallTime now = clock.wall();
  const auto authority = make_authority("CA", now, 48h);
  const auto other = make_authority("CA", now, 48h);  // of the same name
  REQUIRE(authority);
  REQUIRE(other);
  const auto issued = issue(server(now), *authority);
  REQUIRE(issued);
  CHECK(verifies(issued->certificate_chain_pem, authority->certificate_pem, now));
  CHECK(verifies(issued->certificate_chain_pem, other->certificate_pem + authority->certificate_pem, now));
  CHECK_FALSE(verifies(issued->certificate_chain_pem, other->certificate_pem, now));
  CHECK_FALSE(verifies(issued->certificate_chain_pem, "", now));
  CHECK_FALSE(verifies("", authority->certificate_pem, now));
  CHECK(verifies(issued->certificate_chain_pem, authority->certificate_pem, now - 59min));  // a clock that is behind
  CHECK(verifies(issued->certificate_chain_pem, authority->certificate_pem, now + 23h));
  CHECK_FALSE(verifies(issued->certificate_chain_pem, authority->certificate_pem, now + 25h));
}

TEST_CASE("a leaf that is trusted by itself verifies, as it does for kube-apiserver") {
  const FakeClock clock;
  const auto authority = make_authority("CA", clock.wall(), 48h);
  const auto issued = issue(server(clock.wall()), *authority);
  CHECK(verifies(issued->certificate_chain_pem, issued->certificate_chain_pem, clock.wall()));
}

TEST_CASE("an issued certificate has the names and times that it was made with") {
  const FakeClock clock;
  const auto authority = make_authority("CA", clock.wall(), 48h);
  const auto issued = issue(server(clock.wall(), 5h), *authority);
  REQUIRE(issued);
  CHECK(issued->not_after == clock.wall() + 5h);
  const auto facts = read_certificates(issued->certificate_chain_pem);
  REQUIRE(facts);
  REQUIRE(facts->size() == 1);
  CHECK(facts->front().names == std::vector<std::string>{"sharder.ns.svc", "sharder.ns", "10.1.2.3", "::1"});
  CHECK(facts->front().not_after == clock.wall() + 5h);
  CHECK(facts->front().not_before == clock.wall() - 1h);
  CHECK(facts->front().pem == issued->certificate_chain_pem);
}

TEST_CASE("an authority is no server, and a server certificate is no authority") {
  const FakeClock clock;
  const auto authority = make_authority("CA", clock.wall(), 48h);
  const auto issued = issue(server(clock.wall()), *authority);
  REQUIRE(issued);
  const auto below = issue(server(clock.wall()), {.certificate_pem = issued->certificate_chain_pem,
                                                  .private_key_pem = issued->private_key_pem});
  REQUIRE(below);
  const std::string chain = below->certificate_chain_pem + issued->certificate_chain_pem;
  CHECK_FALSE(verifies(chain, authority->certificate_pem, clock.wall()));
}

TEST_CASE("an authority whose key is another's or does not parse issues nothing, and is not quoted (design, 6.12)") {
  const FakeClock clock;
  const auto authority = make_authority("CA", clock.wall(), 48h);
  const auto other = make_authority("CA", clock.wall(), 48h);
  for (const std::string& key : {other->private_key_pem, std::string("MARKER"), std::string()}) {
    const auto issued =
        issue(server(clock.wall()), {.certificate_pem = authority->certificate_pem, .private_key_pem = key});
    REQUIRE_FALSE(issued);
    CHECK(issued.error().message.starts_with("the authority's "));
    CHECK_FALSE(issued.error().message.contains("MARKER"));
    CHECK_FALSE(belong_together(authority->certificate_pem, key));
  }
  CHECK(belong_together(authority->certificate_pem, authority->private_key_pem));
}

TEST_CASE("a long common name is cut; a name that is none gives an error, not a certificate without it") {
  const FakeClock clock;
  ServerCertificate wanted = server(clock.wall());
  wanted.common_name = std::string(100, 'x');
  CHECK(issue_self_signed(wanted));
  wanted.ip_addresses = {"not an address"};
  const auto issued = issue_self_signed(wanted);
  REQUIRE_FALSE(issued);
  CHECK(issued.error().message.starts_with("make a server certificate: "));
}

}  // namespace
