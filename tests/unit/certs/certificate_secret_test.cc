#include "certs/certificate_secret.h"

#include <doctest/doctest.h>
#include <prometheus/registry.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/base64.h"
#include "certs/certificate_keeper.h"
#include "certs/self_managed.h"
#include "certs/x509.h"
#include "tests/support/fake_cluster.h"

// docs/decisions/0008-serving-certificates.md: the replica's part and the leader's, with an API server.
namespace {

using namespace sharder;
using namespace sharder::certs;
using namespace sharder::testing;
using namespace std::chrono_literals;
using nlohmann::json;

constexpr const char* kSecrets = "/api/v1/namespaces/sharding-system/secrets";
constexpr const char* kConfigurations = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
const CertificateSecretOptions kOptions{
    .secret_namespace = "sharding-system", .name = "tls", .webhook_selector = "app=ours"};

// Somebody who fills the Secret.
struct Issuer {
  explicit Issuer(WallTime now) : authority(make_authority("CA", now, 24h * 365).value()) {}
  ServingSecret pair(WallTime now, std::chrono::seconds lifetime = 24h * 90) const {
    const auto issued = issue({.common_name = "x", .dns_names = {"x"}, .now = now, .lifetime = lifetime}, authority);
    return {.certificate_pem = issued->certificate_chain_pem,
            .private_key_pem = issued->private_key_pem,
            .roots_pem = authority.certificate_pem};
  }
  Authority authority;
};

struct Case {
  FakeClock clock;
  FakeExecutor executor{clock};
  FakeApi api{executor};
  FakeCluster cluster{executor, api};
  std::shared_ptr<std::string> lines = std::make_shared<std::string>();
  prometheus::Registry registry;
  WaitGroup leader_work;
  std::vector<std::string> given_out;  // bundles of the leader
  std::unique_ptr<CertificateSecret> secret;
  std::unique_ptr<CertificateKeeper> keeper;
  Issuer first{clock.wall()};
  Issuer second{clock.wall() + 1s};

  // `files`: the pairs in certDir.
  explicit Case(const std::vector<ServingSecret>& files = {}) {
    CertificateSecretOptions options = kOptions;
    for (const ServingSecret& pair : files) {
      options.before.push_back(
          make_identity(pair.certificate_pem, pair.private_key_pem, {"tls.crt", "tls.key"}).value());
    }
    secret = std::make_unique<CertificateSecret>(executor, api, clock, options, registry, Logger::to_string(lines));
    cluster.request("POST", "/api/v1/namespaces", {{"metadata", {{"name", "sharding-system"}}}});
  }
  ~Case() {
    keeper.reset();
    secret.reset();
    executor.run();
  }

  void start() {
    secret->start();
    cluster.settle();
  }
  // The leader; its bundles go into the webhook configuration "ours", as controllerring/ sees to.
  void lead(bool makes) {
    keeper = std::make_unique<CertificateKeeper>(
        executor, api, clock, *secret,
        CertificateKeeperOptions{
            .secret = kOptions,
            .makes = makes ? std::optional(ServerCertificate{.common_name = "sharder", .dns_names = {"sharder.ns.svc"}})
                           : std::nullopt},
        [this](const std::string& bundle) {
          given_out.push_back(bundle);
          configure("ours", bundle);
        },
        Logger::to_string(lines), leader_work);
    keeper->set_leading(true);
    cluster.settle();
  }
  void put(const ServingSecret& content) {
    if (cluster.find("/api/v1/secrets", "sharding-system/tls")) {
      json patch = json::parse(secret_patch(content));
      patch["metadata"].erase("resourceVersion");
      cluster.request("PATCH", std::string(kSecrets) + "/tls", patch, "application/merge-patch+json");
    } else {
      cluster.request("POST", kSecrets, json::parse(new_secret("tls", content)));
    }
    cluster.settle();
  }
  void remove() {
    cluster.request("DELETE", std::string(kSecrets) + "/tls");
    cluster.settle();
  }
  ServingSecret stored() {
    return decode_serving_secret(cluster.request("GET", std::string(kSecrets) + "/tls").dump()).value();
  }
  void configure(const std::string& name, const std::string& bundle) {
    const json body{{"apiVersion", "admissionregistration.k8s.io/v1"},
                    {"kind", "MutatingWebhookConfiguration"},
                    {"metadata", {{"name", name}, {"labels", {{"app", "ours"}}}}},
                    {"webhooks",
                     {{{"name", "a.b.c"},
                       {"sideEffects", "None"},
                       {"admissionReviewVersions", {"v1"}},
                       {"clientConfig", {{"url", "https://127.0.0.1:1"}, {"caBundle", encode_base64(bundle)}}}}}}};
    cluster.request("PATCH", kConfigurations + ("/" + name + "?fieldManager=test&force=true"), body,
                    "application/apply-patch+yaml");
  }
  // The chain that the server shows, "" while there is none.
  std::string shown() const {
    const auto identity = secret->identity().get();
    return identity ? identity->certificate_chain_pem : "";
  }
  bool logged(const std::string& text) const { return lines->contains(text); }
};

TEST_CASE("the first good pair waits for trust for half a minute; the reason for not being ready has fixed words") {
  Case c;
  CHECK(c.secret->not_ready() == "waiting for the webhook's Secret");
  c.start();
  CHECK(c.secret->not_ready().value_or("ready") == "the webhook's Secret does not exist");
  ServingSecret pair = c.first.pair(c.clock.wall());
  const std::string key = std::exchange(pair.private_key_pem, "MARKER");
  c.put(pair);
  CHECK(c.secret->not_ready() == "the webhook's Secret has no good certificate");
  CHECK(c.logged("tls.key"));
  CHECK_FALSE(c.logged("MARKER"));
  CHECK(c.shown().empty());
  c.configure("ours", c.second.authority.certificate_pem);
  pair.private_key_pem = key;
  c.put(pair);
  CHECK(c.secret->not_ready().value_or("ready") == "waiting for the webhook's certificate to be trusted");
  CHECK(c.shown().empty());
  SUBCASE("trusted") {
    c.configure("ours", c.first.authority.certificate_pem);
    c.cluster.advance(20s);
  }
  SUBCASE("not in time") {
    c.cluster.advance(25s);
    CHECK(c.shown().empty());
    c.cluster.advance(25s);
  }
  CHECK(c.shown() == pair.certificate_pem);
  CHECK_FALSE(c.secret->not_ready());
}

TEST_CASE("the first pair is shown at once where there is no webhook configuration yet") {
  Case c;
  const ServingSecret pair = c.first.pair(c.clock.wall());
  c.put(pair);
  c.start();
  CHECK(c.shown() == pair.certificate_pem);
}

// certDir has pairs of earlier modes, the Secret has the pair of this one.
struct Earlier {
  Issuer old{FakeClock().wall()};
  ServingSecret pair = old.pair(FakeClock().wall());
  Case c{{pair}};
};

TEST_CASE("a caBundle with a damaged certificate trusts by its others, as in the API server") {
  Case c;
  std::string damaged = c.second.authority.certificate_pem;
  damaged.replace(damaged.size() / 2, 4, "!!!!");
  c.configure("ours", damaged + c.first.authority.certificate_pem);
  const ServingSecret pair = c.first.pair(c.clock.wall());
  c.put(pair);
  c.start();
  CHECK(c.shown() == pair.certificate_pem);
}

TEST_CASE("a pair of certDir that is trusted is shown at once, until the Secret's is trusted too") {
  Earlier e;
  Case& c = e.c;
  c.configure("ours", e.pair.roots_pem);
  const ServingSecret next = c.first.pair(c.clock.wall());
  bool comes_later = false;
  SUBCASE("the Secret has another one") {
    c.put(next);
  }
  SUBCASE("there is no Secret yet") {
    comes_later = true;
  }
  SUBCASE("the Secret is damaged") {
    c.put({.certificate_pem = "nonsense", .private_key_pem = "nonsense"});
    comes_later = true;
  }
  SUBCASE("the Secret cannot be read") {
    c.cluster.refuse = failing("list watch", "secrets", 403);
    comes_later = true;
  }
  c.start();
  CHECK(c.shown() == e.pair.certificate_pem);
  CHECK(c.logged("from=files"));
  CHECK_FALSE(c.secret->not_ready());
  c.cluster.refuse = nullptr;
  if (comes_later) {
    c.put(next);
  }
  c.cluster.advance(5min, 1s);
  CHECK(c.shown() == e.pair.certificate_pem);
  c.configure("ours", next.roots_pem + e.pair.roots_pem);
  c.cluster.advance(20s);
  CHECK(c.shown() == next.certificate_pem);
}

TEST_CASE("a pair of certDir that nobody trusts is not shown while the Secret's is trusted") {
  Earlier e;
  Case& c = e.c;
  const ServingSecret pair = c.first.pair(c.clock.wall());
  c.put(pair);
  std::string roots = pair.roots_pem;
  SUBCASE("alone") {}
  SUBCASE("like that of certDir, and then the Secret's comes first") {
    roots += e.pair.roots_pem;
  }
  c.configure("ours", roots);
  // The configurations may be read before the Secret: with both trusted, either may be the first that is shown.
  c.start();
  c.cluster.advance(5s);
  CHECK(c.shown() == pair.certificate_pem);
  CHECK((roots != pair.roots_pem || !c.logged("from=files")));
}

TEST_CASE("when the Secret has the pair of certDir that is shown, the log says so: nothing else changes") {
  Earlier e;
  Case& c = e.c;
  c.configure("ours", e.pair.roots_pem);
  c.start();
  CHECK(c.logged("from=files"));
  CHECK_FALSE(c.logged("from=Secret"));
  c.put(e.pair);
  CHECK(c.logged("from=Secret"));
  CHECK(c.shown() == e.pair.certificate_pem);
}

TEST_CASE("the first pair of several in certDir that is trusted is shown") {
  const WallTime now = FakeClock().wall();
  const Issuer one(now);
  const Issuer other(now + 1s);
  const ServingSecret stale = one.pair(now);
  const ServingSecret used = other.pair(now);
  Case c({stale, used});
  c.configure("ours", used.roots_pem);
  c.start();
  CHECK(c.shown() == used.certificate_pem);
}

TEST_CASE("neither the Secret's pair nor that of certDir is trusted: not ready until one is, for half a minute") {
  Earlier e;
  Case& c = e.c;
  c.configure("ours", c.second.authority.certificate_pem);
  c.configure("another", c.second.authority.certificate_pem);
  const ServingSecret pair = c.first.pair(c.clock.wall());
  std::string expected = pair.certificate_pem;
  SUBCASE("then the Secret's is shown") {
    c.put(pair);
  }
  SUBCASE("then that of certDir is shown if the Secret has none, and one configuration trusts it") {
    c.configure("another", e.pair.roots_pem);
    expected = e.pair.certificate_pem;
  }
  SUBCASE("then that of certDir is shown if more configurations trust it") {
    c.put(pair);
    c.configure("another", e.pair.roots_pem);
    expected = e.pair.certificate_pem;
  }
  SUBCASE("equal caBundles count as often as they are there") {
    c.put(pair);
    c.configure("another", pair.roots_pem);
    c.configure("third", e.pair.roots_pem);
    c.configure("fourth", e.pair.roots_pem);
    expected = e.pair.certificate_pem;
  }
  c.start();
  CHECK(c.secret->not_ready());
  c.cluster.advance(CertificateSecret::kBlindPause - 1s);
  CHECK(c.secret->not_ready());
  CHECK(c.shown().empty());
  c.cluster.advance(2s);
  CHECK_FALSE(c.secret->not_ready());
  CHECK(c.shown() == expected);
}

TEST_CASE(
    "without a pair in the Secret, one of certDir that nobody trusts or that has expired never makes a pod ready") {
  Earlier e;
  Case& c = e.c;
  std::string reason = "the webhook's Secret does not exist";
  bool is_outage = false;
  SUBCASE("nobody trusts it") {
    c.configure("ours", c.second.authority.certificate_pem);
  }
  SUBCASE("nobody trusts it, and the Secret is damaged") {
    c.configure("ours", c.second.authority.certificate_pem);
    c.put({.certificate_pem = "nonsense", .private_key_pem = "nonsense"});
    reason = "the webhook's Secret has no good certificate";
  }
  SUBCASE("it has expired, with the caBundle that once trusted it") {
    c.configure("ours", e.pair.roots_pem);
    c.clock.advance(91 * 24h);
  }
  SUBCASE("it has expired, and there is no configuration") {
    c.clock.advance(91 * 24h);
  }
  SUBCASE("it has expired, and nobody answers for the configurations") {
    c.cluster.refuse = failing("list", "mutatingwebhookconfigurations", 0);
    c.clock.advance(91 * 24h);
    is_outage = true;
  }
  c.start();
  c.cluster.lists.clear();
  c.cluster.advance(10min, 1s);
  CHECK(c.shown().empty());
  CHECK(c.secret->not_ready() == reason);
  CHECK(c.cluster.lists.size() < 70);  // the pauses grow
  // The Secret's has as long as without the other.
  const ServingSecret pair = c.first.pair(c.clock.wall());
  if (!is_outage) {
    c.configure("ours", c.second.authority.certificate_pem);
  }
  c.put(pair);
  c.cluster.advance(CertificateSecret::kBlindPause - 1s);
  CHECK(c.shown().empty());
  c.cluster.advance(2s);
  CHECK(c.shown() == pair.certificate_pem);
}

TEST_CASE(
    "while webhook configurations cannot be read, the first pair of certDir that has not expired is shown if late") {
  const WallTime now = FakeClock().wall();
  const ServingSecret expired = Issuer(now).pair(now, 10s);
  const ServingSecret usable = Issuer(now).pair(now);
  const ServingSecret further = Issuer(now).pair(now);
  Case c({expired, usable, further});
  c.configure("ours", c.second.authority.certificate_pem);
  c.cluster.refuse = failing("list", "mutatingwebhookconfigurations", 500);
  c.start();
  c.cluster.advance(CertificateSecret::kBlindPause - 1s);
  CHECK(c.shown().empty());
  c.cluster.advance(2s);
  CHECK(c.shown() == usable.certificate_pem);
}

TEST_CASE("while the first pair waits, whichever pair is trusted first is shown") {
  Earlier e;
  Case& c = e.c;
  c.configure("ours", c.second.authority.certificate_pem);
  const ServingSecret pair = c.first.pair(c.clock.wall());
  c.put(pair);
  c.start();
  c.cluster.advance(5s);
  CHECK(c.shown().empty());
  SUBCASE("the Secret's") {
    c.configure("ours", pair.roots_pem);
    c.cluster.advance(15s);
    CHECK(c.shown() == pair.certificate_pem);
  }
  SUBCASE("that of certDir") {
    c.configure("ours", e.pair.roots_pem);
    c.cluster.advance(15s);
    CHECK(c.shown() == e.pair.certificate_pem);
  }
}

TEST_CASE("without webhook configurations the Secret's pair is shown, and that of certDir if the Secret has none") {
  Earlier e;
  Case& c = e.c;
  const ServingSecret pair = c.first.pair(c.clock.wall());
  SUBCASE("the Secret has one") {
    c.put(pair);
    c.start();
    CHECK(c.shown() == pair.certificate_pem);
    CHECK_FALSE(c.logged("from=files"));
  }
  SUBCASE("it has none") {
    c.start();
    CHECK(c.shown() == e.pair.certificate_pem);
  }
  SUBCASE("it is damaged") {
    c.put({.certificate_pem = "nonsense", .private_key_pem = "nonsense"});
    c.start();
    CHECK(c.shown() == e.pair.certificate_pem);
  }
}

TEST_CASE(
    "where webhook configurations cannot be read, the first pair waits for half a minute, then it is the Secret's") {
  Earlier e;
  Case& c = e.c;
  SUBCASE("not permitted") {
    c.cluster.refuse = failing("list", "mutatingwebhookconfigurations", 403);
  }
  SUBCASE("an outage") {
    c.cluster.refuse = failing("list", "mutatingwebhookconfigurations", 0);
  }
  const ServingSecret pair = c.first.pair(c.clock.wall());
  c.put(pair);
  c.start();
  c.cluster.advance(CertificateSecret::kBlindPause - 1s);
  CHECK(c.shown().empty());
  c.cluster.advance(2s);
  CHECK(c.shown() == pair.certificate_pem);
}

TEST_CASE("a configuration that is never applied keeps the others from nothing: forget last never meets trust first") {
  Case c;
  c.put(c.first.pair(c.clock.wall()));
  c.configure("of-a-ring-that-is-being-deleted", c.first.authority.certificate_pem);
  c.start();
  c.lead(false);
  const ServingSecret next = c.second.pair(c.clock.wall());
  c.put(next);
  for (int minute = 0; minute < 130; ++minute) {
    CHECK(verifies(c.shown(), c.given_out.back(), c.clock.wall()));
    c.cluster.advance(1min, 5s);
  }
  CHECK(c.shown() == next.certificate_pem);
  CHECK(c.given_out.back() == c.second.authority.certificate_pem);
}

TEST_CASE("a damaged root behind good ones takes none of them away") {
  Case c;
  ServingSecret pair = c.first.pair(c.clock.wall());
  c.put(pair);
  c.start();
  c.lead(false);
  c.cluster.advance(2h, 30s);
  pair.roots_pem += "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
  c.put(pair);
  c.cluster.advance(2h, 30s);
  CHECK(c.given_out == std::vector<std::string>{c.first.authority.certificate_pem});
}

TEST_CASE("a pair that no replica can show takes no root away") {
  Case c;
  c.put(c.first.pair(c.clock.wall()));
  c.start();
  c.lead(false);
  const std::string old = c.shown();
  ServingSecret next = c.second.pair(c.clock.wall());
  next.private_key_pem = c.first.pair(c.clock.wall()).private_key_pem;
  c.put(next);
  c.cluster.advance(3h, 30s);
  CHECK(c.shown() == old);
  CHECK(verifies(old, c.given_out.back(), c.clock.wall()));
}

TEST_CASE("one answer that permits nothing is no reason to go on without the webhook configurations") {
  Case c;
  c.put(c.first.pair(c.clock.wall()));
  c.configure("ours", c.first.authority.certificate_pem);
  c.start();
  c.put(c.second.pair(c.clock.wall()));  // not trusted
  c.cluster.advance(5min, 1s);
  const std::string old = c.shown();
  c.cluster.refuse = failing("list", "mutatingwebhookconfigurations", 403);
  c.lead(false);
  c.cluster.advance(2s);
  CHECK(c.given_out.empty());  // the older root would be lost
  CHECK(c.shown() == old);
  c.cluster.refuse = nullptr;
  c.cluster.advance(20s);
  REQUIRE_FALSE(c.given_out.empty());
  CHECK(c.given_out.front() == c.second.authority.certificate_pem + c.first.authority.certificate_pem);
}

TEST_CASE("one answer that permits nothing is no reason either after a term in which it was never permitted") {
  Case c;
  c.put(c.second.pair(c.clock.wall()));
  c.cluster.refuse = failing("list", "mutatingwebhookconfigurations", 403);
  c.start();
  c.lead(false);
  c.cluster.advance(1min, 1s);
  REQUIRE_FALSE(c.given_out.empty());
  c.given_out.clear();
  c.configure("ours", c.first.authority.certificate_pem);
  c.keeper->set_leading(false);
  c.cluster.settle();
  c.keeper->set_leading(true);
  c.cluster.advance(2s);
  CHECK(c.given_out.empty());
  c.cluster.refuse = nullptr;
  c.cluster.advance(20s);
  REQUIRE_FALSE(c.given_out.empty());
  CHECK(c.given_out.front() == c.second.authority.certificate_pem + c.first.authority.certificate_pem);
}

TEST_CASE("a pair of the same CA replaces the old one after the time that other API servers need") {
  Case c;
  c.put(c.first.pair(c.clock.wall()));
  c.configure("ours", c.first.authority.certificate_pem);
  c.start();
  const ServingSecret next = c.first.pair(c.clock.wall());
  c.put(next);
  CHECK(c.shown() != next.certificate_pem);
  c.cluster.advance(CertificateSecret::kTakeUp + 1s);
  CHECK(c.shown() == next.certificate_pem);
}

TEST_CASE("trust first: a pair of a new CA is shown when each webhook configuration trusts it, and not before") {
  Case c;
  const ServingSecret old = c.first.pair(c.clock.wall());
  c.put(old);
  c.configure("one", c.first.authority.certificate_pem);
  c.configure("other", c.first.authority.certificate_pem);
  c.start();
  const ServingSecret next = c.second.pair(c.clock.wall());
  c.put(next);
  c.cluster.advance(10min, 1s);
  CHECK(c.shown() == old.certificate_pem);
  const std::string both = c.second.authority.certificate_pem + c.first.authority.certificate_pem;
  c.configure("one", both);
  c.cluster.advance(1min, 1s);
  CHECK(c.shown() == old.certificate_pem);
  c.configure("other", both);
  c.cluster.advance(1s);
  CHECK(c.shown() == old.certificate_pem);  // other API servers may not have seen it
  c.cluster.advance(20s);
  CHECK(c.shown() == next.certificate_pem);
}

TEST_CASE("a pair is shown at once when the old one is not trusted any more, as after an injector's change") {
  Case c;
  c.put(c.first.pair(c.clock.wall()));
  c.configure("ours", c.first.authority.certificate_pem);
  c.start();
  c.configure("ours", c.second.authority.certificate_pem);
  const ServingSecret next = c.second.pair(c.clock.wall());
  c.put(next);
  CHECK(c.shown() == next.certificate_pem);
}

TEST_CASE("a new pair does not wait for trust when the old one expires within the hour") {
  Case c;
  c.put(c.first.pair(c.clock.wall(), 2h));
  c.configure("ours", c.first.authority.certificate_pem);
  c.start();
  const ServingSecret next = c.second.pair(c.clock.wall());
  c.put(next);
  c.cluster.advance(59min, 10s);
  CHECK(c.shown() != next.certificate_pem);
  c.cluster.advance(2min, 10s);
  CHECK(c.shown() == next.certificate_pem);
}

TEST_CASE("where webhook configurations cannot be read, a new pair waits for half a minute") {
  Case c;
  c.put(c.first.pair(c.clock.wall()));
  c.start();
  const ServingSecret next = c.second.pair(c.clock.wall());
  SUBCASE("not permitted") {
    c.cluster.refuse = failing("list", "mutatingwebhookconfigurations", 403);
    c.put(next);
    c.cluster.advance(29s);
    CHECK(c.shown() != next.certificate_pem);
    c.cluster.advance(20s);
    CHECK(c.shown() == next.certificate_pem);
  }
  SUBCASE("an outage: it waits for its end") {
    c.cluster.refuse = failing("list", "mutatingwebhookconfigurations", 0);
    c.put(next);
    c.cluster.advance(5min, 1s);
    CHECK(c.shown() != next.certificate_pem);
    c.cluster.refuse = nullptr;
    c.cluster.advance(20s);
    CHECK(c.shown() == next.certificate_pem);
  }
}

TEST_CASE("where reading webhook configurations is not permitted, each new pair waits for half a minute") {
  Case c;
  c.put(c.first.pair(c.clock.wall()));
  c.start();
  c.cluster.refuse = failing("list", "mutatingwebhookconfigurations", 403);
  for (int rotation = 0; rotation < 2; ++rotation) {
    const ServingSecret next = c.second.pair(c.clock.wall());
    c.put(next);
    c.cluster.advance(CertificateSecret::kBlindPause - 1s);
    CHECK(c.shown() != next.certificate_pem);
    c.cluster.advance(20s);
    CHECK(c.shown() == next.certificate_pem);
    c.cluster.advance(24h, 1min);
  }
}

TEST_CASE("a Secret that goes or is damaged changes nothing, and is logged once; what was a candidate is forgotten") {
  Case c;
  const ServingSecret old = c.first.pair(c.clock.wall());
  c.put(old);
  c.configure("ours", c.first.authority.certificate_pem);
  c.start();
  c.put(c.second.pair(c.clock.wall()));  // a candidate that nobody trusts
  c.remove();
  c.configure("ours", c.second.authority.certificate_pem + c.first.authority.certificate_pem);
  c.cluster.advance(1min, 1s);
  CHECK(c.shown() == old.certificate_pem);
  CHECK_FALSE(c.secret->not_ready());
  CHECK(c.logged("no good certificate in the Secret, the old one stays"));
  c.put(old);
  CHECK(c.logged("the Secret has a good certificate again"));
  CHECK(c.shown() == old.certificate_pem);
}

TEST_CASE("selfManaged: a replica that does not lead makes the Secret when there is none, and no more") {
  Case c;
  c.start();
  c.keeper = std::make_unique<CertificateKeeper>(
      c.executor, c.api, c.clock, *c.secret,
      CertificateKeeperOptions{.secret = kOptions,
                               .makes = ServerCertificate{.common_name = "sharder", .dns_names = {"sharder.ns.svc"}}},
      [&c](const std::string& bundle) { c.given_out.push_back(bundle); }, Logger::none(), c.leader_work);
  c.put(c.first.pair(c.clock.wall()));  // without the CA's key
  c.cluster.advance(5s);
  CHECK(c.stored().root_key_pem.empty());
  for (int time = 0; time < 2; ++time) {
    c.remove();
    c.cluster.advance(5s);
    CHECK(is_good(c.stored(), c.clock.wall()));
  }
  CHECK(c.given_out.empty());
}

TEST_CASE("selfManaged: somebody who undoes each write meets pauses that grow, and is logged once") {
  Case c;
  c.put(c.first.pair(c.clock.wall()));
  c.start();
  c.lead(true);
  c.cluster.patches.clear();
  for (int second = 0; second < 600; ++second) {
    c.put(c.first.pair(c.clock.wall()));
    c.cluster.advance(1s);
  }
  CHECK(c.cluster.patches.size() < 15);
  CHECK(c.cluster.patches.size() > 3);
  for (const char* const line :
       {"writing the webhook's Secret", "the webhook's Secret does not stay as it is written"}) {
    CHECK(c.logged(line));
    CHECK(c.lines->find(line) == c.lines->rfind(line));
  }
}

TEST_CASE(
    "webhook configurations that cannot be read for long are logged once, asked for seldom, and said to be read") {
  Case c;
  c.start();
  c.lead(false);
  c.keeper->set_leading(false);
  int lists = 0;
  const auto refuse = failing("list", "mutatingwebhookconfigurations", 500, "an aggregated server is broken");
  c.cluster.refuse = [&](const auto& request) {
    auto answer = refuse(request);
    lists += answer ? 1 : 0;
    return answer;
  };
  c.keeper->set_leading(true);
  SUBCASE("by the leader") {}
  SUBCASE("by each replica, for a new pair too") {
    c.put(c.first.pair(c.clock.wall()));
  }
  c.cluster.advance(10min, 1s);
  lists = 0;
  c.cluster.advance(10min, 1s);
  CHECK(lists <= 2 * 10);
  c.cluster.refuse = nullptr;
  c.cluster.advance(3min, 1s);
  CHECK(c.logged("webhook configurations can be read again"));
}

TEST_CASE("selfManaged: the leader makes the Secret, gives out its root, and the replica shows the pair") {
  Case c;
  c.start();
  c.lead(true);
  CHECK(is_good(c.stored(), c.clock.wall()));
  CHECK(c.shown() == c.stored().certificate_pem);
  REQUIRE(c.given_out.size() == 1);
  CHECK(c.given_out.front() == c.stored().roots_pem);
}

TEST_CASE("selfManaged: what is deleted or damaged is written again as it was") {
  Case c;
  c.start();
  c.lead(true);
  const ServingSecret before = c.stored();
  SUBCASE("deleted") {
    c.remove();
  }
  SUBCASE("a damaged key") {
    ServingSecret damaged = before;
    damaged.private_key_pem = "nonsense";
    c.put(damaged);
  }
  c.cluster.advance(5s);
  ServingSecret after = c.stored();
  after.resource_version = before.resource_version;
  CHECK(after == before);
  CHECK(c.given_out.size() == 1);  // the same root
}

TEST_CASE("selfManaged: a rotation of the CA keeps every handshake good: trust first, forget last") {
  Case c;
  c.start();
  c.lead(true);
  ServingSecret asked = c.stored();
  const std::string old_root = asked.roots_pem;
  const std::string old_pair = asked.certificate_pem;
  c.cluster.request("PATCH", std::string(kSecrets) + "/tls", {{"data", {{"ca.key", nullptr}}}},
                    "application/merge-patch+json");
  for (int tenth = 0; tenth < 20 && c.stored().certificate_pem == old_pair; ++tenth) {
    c.cluster.advance(100ms);  // the write before was a moment ago
  }
  CHECK(c.stored().certificate_pem != old_pair);
  CHECK(c.shown() == old_pair);  // other API servers may not trust the new one yet
  CHECK(c.given_out.back() == c.stored().roots_pem);
  CHECK(c.given_out.back().contains(old_root));
  for (int second = 0; second < 5; ++second) {
    CHECK(verifies(c.shown(), c.given_out.back(), c.clock.wall()));
    c.cluster.advance(1s);
  }
  CHECK(c.shown() == c.stored().certificate_pem);
}

TEST_CASE("selfManaged: the watch may show what was written before the answer comes") {
  Case c;
  c.start();
  c.cluster.hold_patches = true;
  c.put(c.first.pair(c.clock.wall()));  // without a CA's key: it has to be written
  c.lead(true);
  REQUIRE(c.api.pending.size() == 1);
  FakeApi::Pending held = std::move(c.api.pending.front());
  c.api.pending.clear();
  json written = c.cluster.request("PATCH", std::string(kSecrets) + "/tls", json::parse(held.request.body),
                                   "application/merge-patch+json");
  c.cluster.settle();
  const auto given_out = c.given_out.size();
  held.callback(kube::Response{.status = 200, .body = written.dump()});
  c.cluster.settle();
  CHECK(c.given_out.size() == given_out + 1);
  CHECK(c.given_out.back().starts_with(c.stored().roots_pem.substr(0, 100)));
  CHECK(c.api.pending.empty());  // nothing is written anew
}

TEST_CASE("selfManaged: a certificate is renewed in time, without anybody's doing") {
  Case c;
  const ServerCertificate names{.common_name = "sharder", .dns_names = {"sharder.ns.svc"}};
  const ServingSecret old = next_secret({}, nullptr, names, c.clock.wall() - 60 * 24h + 5min).value()->secret;
  c.put(old);
  c.start();
  c.lead(true);
  c.cluster.advance(4min, 1s);
  CHECK(c.shown() == old.certificate_pem);
  c.cluster.advance(2min, 1s);
  CHECK(c.shown() != old.certificate_pem);
  CHECK(c.shown() == c.stored().certificate_pem);
}

TEST_CASE("selfManaged: a Secret that cannot be written is logged once, and takes no root away") {
  Case c;
  c.configure("ours", c.first.authority.certificate_pem);  // of another mode, and in force
  c.cluster.refuse = failing("create patch", "secrets", 403, "cannot create resource \"secrets\"");
  c.start();
  c.lead(true);
  c.cluster.advance(1min, 1s);
  CHECK(c.given_out == std::vector<std::string>{c.first.authority.certificate_pem});
  CHECK(c.logged("cannot write the webhook's Secret"));
  c.cluster.refuse = nullptr;
  c.cluster.advance(3min, 1s);
  CHECK(c.logged("the webhook's Secret can be written again"));
  CHECK(c.given_out.back() == c.stored().roots_pem + c.first.authority.certificate_pem);
  c.cluster.advance(1h + 1min, 30s);
  CHECK(c.given_out.back() == c.stored().roots_pem);
}

TEST_CASE("secret: the leader gives out the Secret's roots, and writes nothing") {
  Case c;
  c.put(c.first.pair(c.clock.wall()));
  c.start();
  c.lead(false);
  CHECK(c.given_out == std::vector<std::string>{c.first.authority.certificate_pem});
  c.put(c.second.pair(c.clock.wall()));
  CHECK(c.given_out.back() == c.second.authority.certificate_pem + c.first.authority.certificate_pem);
  c.remove();
  c.cluster.advance(2h, 30s);
  CHECK(c.given_out.back() == c.second.authority.certificate_pem + c.first.authority.certificate_pem);
  CHECK_FALSE(c.cluster.find("/api/v1/secrets", "sharding-system/tls"));
}

TEST_CASE(
    "secret: a Secret with a pair and no roots leaves the caBundle to others; one that is missing gives out nothing") {
  Case c;
  c.start();
  c.lead(false);
  CHECK(c.given_out.empty());
  ServingSecret pair = c.first.pair(c.clock.wall());
  pair.roots_pem.clear();
  c.put(pair);
  CHECK(c.given_out == std::vector<std::string>{""});
}

TEST_CASE("a leader that cannot read the webhook configurations yet gives out nothing") {
  Case c;
  c.put(c.first.pair(c.clock.wall()));
  c.cluster.refuse = failing("list", "mutatingwebhookconfigurations", 0);
  c.start();
  c.lead(false);
  c.cluster.advance(10s);
  CHECK(c.given_out.empty());
  c.cluster.refuse = nullptr;
  c.cluster.advance(3min, 1s);
  CHECK(c.given_out == std::vector<std::string>{c.first.authority.certificate_pem});
}

}  // namespace
