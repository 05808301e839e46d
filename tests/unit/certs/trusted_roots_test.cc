#include "certs/trusted_roots.h"

#include <doctest/doctest.h>

#include "certs/authority.h"
#include "tests/support/fake_clock.h"

// docs/decisions/0008-serving-certificates.md, "forget last"
namespace {

using namespace sharder;
using namespace sharder::certs;
using namespace std::chrono_literals;

struct Issuer {
  explicit Issuer(WallTime now, std::chrono::seconds lifetime = 1000h)
      : authority(make_authority("CA", now, lifetime).value()),
        chain(
            issue({.common_name = "x", .dns_names = {"x"}, .ip_addresses = {}, .now = now, .lifetime = 500h}, authority)
                .value()
                .certificate_chain_pem) {}
  const std::string& root() const { return authority.certificate_pem; }

  Authority authority;
  std::string chain;
};

struct Case {
  sharder::testing::FakeClock clock;
  TrustedRoots roots;
  Issuer first{clock.wall()};
  Issuer second{clock.wall() + 1s};

  void show(const std::string& pem, const std::string& chain) { roots.show(pem, chain, clock.wall(), clock.steady()); }
  std::string bundle() { return roots.bundle(clock.wall(), clock.steady()); }
};

TEST_CASE("an older root stays for an hour after the pair that is shown was seen first") {
  Case c;
  c.show(c.first.root(), c.first.chain);
  CHECK(c.bundle() == c.first.root());
  c.clock.advance(48h);
  c.show(c.second.root(), c.second.chain);
  CHECK(c.bundle() == c.second.root() + c.first.root());
  c.clock.advance(59min);
  c.show(c.second.root(), c.second.chain);  // again: not seen first now
  CHECK(c.bundle() == c.second.root() + c.first.root());
  c.clock.advance(1min);
  CHECK(c.bundle() == c.second.root());
}

TEST_CASE("a further change of the pair begins the hour anew") {
  Case c;
  c.show(c.first.root(), c.first.chain);
  c.show(c.second.root(), c.second.chain);
  c.clock.advance(59min);
  const Issuer third(c.clock.wall());
  c.show(third.root(), third.chain);
  c.clock.advance(59min);
  CHECK(c.bundle() == third.root() + c.second.root() + c.first.root());
}

TEST_CASE("what is trusted already when the leadership begins stays as well") {
  Case c;
  c.roots.adopt(c.first.root() + c.second.root());
  c.show(c.second.root(), c.second.chain);
  CHECK(c.bundle() == c.second.root() + c.first.root());
  c.clock.advance(1h);
  CHECK(c.bundle() == c.second.root());
}

TEST_CASE("no root goes while the pair does not verify with the Secret's roots") {
  Case c;
  c.show(c.first.root(), c.first.chain);
  SUBCASE("the Secret is gone") {
    c.show("", "");
  }
  SUBCASE("its roots are damaged") {
    c.show("damaged", c.first.chain);
  }
  c.clock.advance(48h);
  CHECK(c.bundle() == c.first.root());
  c.show(c.second.root(), c.second.chain);
  c.clock.advance(59min);
  CHECK(c.bundle() == c.second.root() + c.first.root());
}

TEST_CASE("a root that has expired goes at once, and of many older ones those stay that were current last") {
  Case c;
  const Issuer brief(c.clock.wall(), 10min);
  c.show(brief.root(), brief.chain);
  c.show(c.first.root(), c.first.chain);
  CHECK(c.bundle() == c.first.root() + brief.root());
  c.clock.advance(10min);
  CHECK(c.bundle() == c.first.root());

  std::string newest;
  for (int number = 0; number < 12; ++number) {
    c.clock.advance(1s);
    const Issuer next(c.clock.wall());
    newest = next.root() + newest;
    c.show(next.root(), next.chain);
  }
  const auto kept = read_certificates(c.bundle()).value();
  const auto made = read_certificates(newest).value();
  REQUIRE(kept.size() == 1 + TrustedRoots::kMaxOlder);
  for (std::size_t i = 0; i < kept.size(); ++i) {
    CHECK(kept[i].pem == made[i].pem);
  }
}

TEST_CASE("of what is in force already everything is kept, however much it is, but what is damaged") {
  Case c;
  std::string all = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
  for (int number = 0; number < 12; ++number) {
    c.clock.advance(1s);
    all += make_authority("CA", c.clock.wall(), 1000h).value().certificate_pem;
  }
  c.roots.adopt(all);
  c.show(c.first.root(), c.first.chain);
  CHECK(read_certificates(c.bundle()).value().size() == 13);
}

TEST_CASE("what does not parse is no root") {
  Case c;
  c.roots.adopt("nonsense");
  c.show("", "");
  CHECK(c.bundle().empty());
}

}  // namespace
