#include <doctest/doctest.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/eventually.h"
#include "tests/unit/http/client.h"
#include "tests/unit/http/fixture.h"

// docs/design.md, invariant 14: with a client CA, nobody is served without a certificate of that CA.
namespace {

using namespace std::chrono_literals;
namespace detail = sharder::testing::detail;
using sharder::Published;
using sharder::http::ServerOptions;
using sharder::testing::Client;
using sharder::testing::eventually;
using sharder::testing::kGet;
using sharder::testing::TestCa;
using sharder::testing::TestCertificate;
using sharder::testing::TestServer;

constexpr int kVersions[] = {0, TLS1_2_VERSION};

TestCertificate client_certificate(const TestCa& ca, std::chrono::seconds valid_for = 1h) {
  return ca.issue({.common_name = "kube-apiserver",
                   .dns_names = {},
                   .ip_addresses = {},
                   .valid_for = valid_for,
                   .purposes = "clientAuth"});
}

// A server that wants a certificate of `ca`.
struct StrictServer {
  explicit StrictServer(const std::string& ca) {
    trust(ca);
    ServerOptions options;
    options.loops = 1;
    options.client_ca = &client_ca;
    server = std::make_unique<TestServer>(std::move(options), true);
  }
  void trust(const std::string& ca) { client_ca.publish(std::make_shared<const std::string>(ca)); }

  // Whether a new client with this certificate is served. In TLS 1.3 the client learns of the failure after the
  // handshake, as it sees it.
  bool serves(const TestCertificate& certificate, int version = 0) const {
    Client client(server->port, {.tls = true, .max_tls_version = version, .certificate = certificate});
    const auto answer = client.shake_hands() ? client.ask(kGet) : std::nullopt;
    return answer && answer->status == 200;
  }

  Published<std::string> client_ca;
  std::unique_ptr<TestServer> server;
};

TEST_CASE("only a client with a certificate of the client CA, for client authentication, is served (design, 6.14)") {
  const TestCa ca, other;
  const StrictServer test(ca.certificate_pem());
  for (const int version : kVersions) {
    CAPTURE(version);
    CHECK(test.serves(client_certificate(ca), version));
    CHECK(test.serves(ca.issue({.purposes = "serverAuth,clientAuth"}), version));
    CHECK(test.serves(ca.issue({.purposes = ""}), version));  // any purpose, as in Go
    CHECK_FALSE(test.serves({}, version));
    CHECK_FALSE(test.serves(client_certificate(other), version));
    CHECK_FALSE(test.serves(ca.issue({.purposes = "serverAuth"}), version));
    CHECK_FALSE(test.serves(client_certificate(ca, -10s), version));
    CHECK_FALSE(test.serves(other.issue({.common_name = "test-ca"}), version));
  }
  CHECK(test.server->server->stats().requests == 6);
  // A client knows that it is refused before the server has counted it.
  CHECK(eventually([&] { return test.server->server->stats().failed_handshakes >= 10; }));
  CHECK(test.server->server->stats().failed_handshakes == 10);
}

TEST_CASE("a client that is refused learns why, although it has sent its request already; the log says so once") {
  const TestCa ca, other;
  const StrictServer test(ca.certificate_pem());
  for (int i = 0; i < 20; ++i) {
    for (const auto& [certificate, alert] : {std::pair(TestCertificate(), SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED),
                                             std::pair(client_certificate(other), SSL_R_TLSV1_ALERT_UNKNOWN_CA)}) {
      Client client(test.server->port, {.tls = true, .certificate = certificate});
      REQUIRE(client.shake_hands());
      client.send(kGet + std::string(8192, 'x'));
      char byte = 0;
      ERR_clear_error();
      CHECK(SSL_read(client.tls(), &byte, 1) <= 0);
      CHECK(ERR_GET_REASON(ERR_peek_error()) == alert);
    }
  }
  const std::string& log = test.server->log();
  const auto first = log.find("client refused in the TLS handshake");
  REQUIRE(first != std::string::npos);
  CHECK(log.find("it showed no certificate") != std::string::npos);
  CHECK(log.find("client refused", first + 1) == std::string::npos);
}

TEST_CASE("after a change of the client CA the old certificates are refused, and the new ones served (design, 6.14)") {
  const TestCa ca, next;
  StrictServer test(ca.certificate_pem());
  CHECK_FALSE(test.serves(client_certificate(next)));
  test.trust(ca.certificate_pem() + next.certificate_pem());
  CHECK(test.serves(client_certificate(ca)));
  CHECK(test.serves(client_certificate(next)));
  test.trust(next.certificate_pem());
  CHECK_FALSE(test.serves(client_certificate(ca)));
  CHECK(test.serves(client_certificate(next)));
  test.trust("nonsense");  // certs/ never publishes this
  CHECK_FALSE(test.serves(client_certificate(ca)));
  CHECK(test.serves(client_certificate(next)));
}

TEST_CASE("a session of a client that was accepted is not resumed, before or after a change of the CA (design, 6.14)") {
  const TestCa ca, next;
  StrictServer test(ca.certificate_pem());
  for (const int version : kVersions) {
    CAPTURE(version);
    test.trust(ca.certificate_pem());
    Client first(test.server->port, {.tls = true, .max_tls_version = version, .certificate = client_certificate(ca)});
    REQUIRE(first.ask(kGet)->status == 200);
    SSL_SESSION* session = SSL_get1_session(first.tls());
    CHECK(SSL_SESSION_has_ticket(session) == 0);
    for (const TestCa* now : {&ca, &next}) {
      test.trust(now->certificate_pem());
      Client second(test.server->port, {.tls = true, .max_tls_version = version});  // without its certificate
      SSL_set_session(second.tls(), session);
      const auto answer = second.shake_hands() ? second.ask(kGet) : std::nullopt;
      CHECK_FALSE(answer);
    }
    SSL_SESSION_free(session);
  }
}

TEST_CASE("a connection from before a change of the client CA ends after its next answer (design, 6.14)") {
  const TestCa ca, next;
  StrictServer test(ca.certificate_pem());
  Client client(test.server->port, {.tls = true, .certificate = client_certificate(ca)});
  CHECK(client.ask(kGet)->header("connection").empty());
  CHECK(client.ask(kGet)->header("connection").empty());
  test.trust(next.certificate_pem());
  const auto answer = client.ask(kGet);
  REQUIRE(answer);
  CHECK(answer->status == 200);
  CHECK(answer->header("connection") == "close");
  CHECK(client.is_closed());
}

TEST_CASE("while there is no client CA nobody is served, and one that does not load ends the start") {
  Published<std::string> client_ca;
  ServerOptions options;
  options.client_ca = &client_ca;
  TestServer test(options, true);
  const TestCa ca;
  {
    Client client(test.port, {.tls = true, .certificate = client_certificate(ca)});
    CHECK_FALSE(client.shake_hands());
  }
  client_ca.publish(std::make_shared<const std::string>(ca.certificate_pem()));
  Client client(test.port, {.tls = true, .certificate = client_certificate(ca)});
  CHECK(client.ask(kGet)->status == 200);

  client_ca.publish(std::make_shared<const std::string>("nonsense"));
  CHECK_THROWS_WITH(TestServer(options, true), doctest::Contains("client CA: there is none"));
}

TEST_CASE("a client cannot have us read or verify more than a short chain") {
  const TestCa ca;
  const StrictServer test(ca.certificate_pem());
  Client client(test.server->port, {.tls = true, .certificate = client_certificate(ca)});
  for (int i = 0; i < 60; ++i) {
    const std::string more = TestCa().certificate_pem();
    const detail::BioPtr pem(BIO_new_mem_buf(more.data(), -1));
    const detail::CertificatePtr certificate(PEM_read_bio_X509(pem.get(), nullptr, nullptr, nullptr));
    REQUIRE(SSL_add1_chain_cert(client.tls(), certificate.get()) == 1);
  }
  const auto answer = client.shake_hands() ? client.ask(kGet) : std::nullopt;
  CHECK_FALSE(answer);
}

}  // namespace
