#include <doctest/doctest.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/delete_with.h"
#include "tests/unit/http/client.h"
#include "tests/unit/http/fixture.h"

using namespace std::chrono_literals;
using sharder::Published;
using sharder::TlsIdentity;
using sharder::testing::Client;
using sharder::testing::eventually;
using sharder::testing::kGet;
using sharder::testing::make_identity;
using sharder::testing::TestKey;
using sharder::testing::TestServer;

namespace {

// The common name of the certificate that the server showed.
std::string shown_name(Client& client) {
  X509* certificate = SSL_get0_peer_certificate(client.tls());
  char name[256] = "";
  X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, name, sizeof(name));
  return name;
}

std::string negotiated_group(Client& client) {
  return SSL_group_to_name(client.tls(), static_cast<int>(SSL_get_negotiated_group(client.tls())));
}

bool knows_group(const char* name) {
  const std::unique_ptr<SSL_CTX, sharder::DeleteWith<SSL_CTX_free>> context(SSL_CTX_new(TLS_client_method()));
  const bool known = SSL_CTX_set1_groups_list(context.get(), name) == 1;
  ERR_clear_error();
  return known;
}

}  // namespace

TEST_CASE("TLS 1.3 and 1.2 are spoken, nothing older") {
  TestServer test({}, true);
  for (const auto& [max_version, works] :
       {std::pair(0, true), std::pair(TLS1_2_VERSION, true), std::pair(TLS1_1_VERSION, false)}) {
    CAPTURE(max_version);
    Client client(test.port, {.tls = true, .max_tls_version = max_version});
    CHECK(client.shake_hands() == works);
    if (works) {
      CHECK(SSL_version(client.tls()) == (max_version == 0 ? TLS1_3_VERSION : max_version));
      CHECK(client.ask(kGet)->status == 200);
    }
  }
}

TEST_CASE("ALPN chooses HTTP/1.1, and a client that cannot speak it fails") {
  TestServer test({}, true);
  {
    Client client(test.port, {.tls = true, .alpn = "\x02h2\x08http/1.1"});
    REQUIRE(client.shake_hands());
    const unsigned char* chosen = nullptr;
    unsigned size = 0;
    SSL_get0_alpn_selected(client.tls(), &chosen, &size);
    CHECK(std::string(reinterpret_cast<const char*>(chosen), size) == "http/1.1");
    CHECK(client.ask(kGet)->status == 200);
  }
  Client client(test.port, {.tls = true, .alpn = "\x02h2"});
  CHECK_FALSE(client.shake_hands());
}

TEST_CASE("no session is ever resumed and no ticket given") {
  TestServer test({}, true);
  for (const int version : {0, TLS1_2_VERSION}) {
    Client first(test.port, {.tls = true, .max_tls_version = version});
    CHECK(first.ask(kGet)->status == 200);
    SSL_SESSION* session = SSL_get1_session(first.tls());
    CHECK(SSL_SESSION_has_ticket(session) == 0);
    Client second(test.port, {.tls = true, .max_tls_version = version});
    SSL_set_session(second.tls(), session);
    CHECK(second.ask(kGet)->status == 200);
    CHECK(SSL_session_reused(second.tls()) == 0);
    SSL_SESSION_free(session);
  }
}

TEST_CASE("key exchange uses X25519MLKEM768, X25519, P-256 or P-384, and nothing else") {
  TestServer test({}, true);
  // In TLS 1.2 a client's groups are also those of an elliptic certificate.
  test.identity.publish(make_identity({.key = TestKey::kRsa2048}));
  const std::map<std::string, bool> groups{
      {"X25519", true}, {"P-256", true}, {"P-384", true}, {"P-521", false}, {"X448", false}};
  for (const int version : {0, TLS1_2_VERSION}) {
    for (const auto& [group, works] : groups) {
      CAPTURE(version);
      CAPTURE(group);
      Client client(test.port, {.tls = true, .max_tls_version = version, .groups = group});
      REQUIRE(client.shake_hands() == works);
      if (works) {
        CHECK(client.ask(kGet)->status == 200);
      }
    }
  }
  Client both(test.port, {.tls = true, .groups = "P-521:P-384"});
  REQUIRE(both.ask(kGet)->status == 200);
  CHECK(negotiated_group(both) == "secp384r1");
  if (knows_group("X25519MLKEM768")) {  // OpenSSL 3.5
    Client like_go(test.port, {.tls = true, .groups = "X25519MLKEM768:X25519"});
    REQUIRE(like_go.ask(kGet)->status == 200);
    CHECK(negotiated_group(like_go) == "X25519MLKEM768");
  }
}

TEST_CASE("renegotiation is not possible") {
  TestServer test({}, true);
  Client client(test.port, {.tls = true, .max_tls_version = TLS1_2_VERSION});
  CHECK(client.ask(kGet)->status == 200);
  REQUIRE(SSL_renegotiate(client.tls()) == 1);
  CHECK_FALSE(client.shake_hands());
  Client neighbour(test.port, {.tls = true});
  CHECK(neighbour.ask(kGet)->status == 200);
}

TEST_CASE("key updates of TLS 1.3 go unnoticed") {
  TestServer test({}, true);
  Client client(test.port, {.tls = true});
  for (int i = 0; i < 10; ++i) {
    CHECK(client.ask(kGet)->status == 200);
    REQUIRE(SSL_key_update(client.tls(), SSL_KEY_UPDATE_REQUESTED) == 1);
  }
}

TEST_CASE("an RSA certificate and a chain work too") {
  TestServer test({}, true);
  test.identity.publish(make_identity({.common_name = "rsa", .key = TestKey::kRsa2048}));
  Client client(test.port, {.tls = true});
  CHECK(client.ask(kGet)->status == 200);
  CHECK(shown_name(client) == "rsa");

  auto chain = *make_identity({.common_name = "chain"});
  chain.certificate_chain_pem += sharder::testing::test_ca().certificate_pem();
  test.identity.publish(std::make_shared<const TlsIdentity>(chain));
  Client with_chain(test.port, {.tls = true});
  CHECK(with_chain.ask(kGet)->status == 200);
  CHECK(sk_X509_num(SSL_get_peer_cert_chain(with_chain.tls())) == 2);
}

TEST_CASE("a new identity is for new handshakes, one that does not load changes nothing") {
  TestServer test({}, true);
  test.identity.publish(make_identity({.common_name = "one"}));
  Client before(test.port, {.tls = true});
  CHECK(before.ask(kGet)->status == 200);
  test.identity.publish(make_identity({.common_name = "two"}));
  CHECK(before.ask(kGet)->status == 200);
  CHECK(shown_name(before) == "one");
  Client after(test.port, {.tls = true});
  CHECK(after.ask(kGet)->status == 200);
  CHECK(shown_name(after) == "two");

  TlsIdentity mixed = *make_identity({.common_name = "three"});
  mixed.private_key_pem = make_identity()->private_key_pem;
  TlsIdentity no_key = *make_identity();
  no_key.private_key_pem = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
  for (const TlsIdentity& bad : {TlsIdentity{}, mixed, no_key}) {
    test.identity.publish(std::make_shared<const TlsIdentity>(bad));
    Client still(test.port, {.tls = true});
    CHECK(still.ask(kGet)->status == 200);
    CHECK(shown_name(still) == "two");
  }
  CHECK(test.log().find("does not load") != std::string::npos);
}

TEST_CASE("identities swapped under load: no handshake and no request fails") {
  TestServer test({.loops = 2}, true);
  const std::vector identities = {make_identity({.common_name = "a"}), make_identity({.common_name = "b"}),
                                  make_identity({.common_name = "c"})};
  std::atomic<int> failed = 0;
  std::atomic<int> done = 0;
  std::vector<std::jthread> clients;
  for (int i = 0; i < 4; ++i) {
    clients.emplace_back([&] {
      for (int connection = 0; connection < 75; ++connection) {
        Client client(test.port, {.tls = true});
        for (int request = 0; request < 3; ++request) {
          const auto answer = client.ask(kGet);
          failed += answer && answer->status == 200 ? 0 : 1;
        }
        ++done;
      }
    });
  }
  for (std::size_t i = 0; done < 300; ++i) {
    test.identity.publish(identities[i % identities.size()]);
    std::this_thread::sleep_for(1ms);
  }
  clients.clear();
  CHECK(failed == 0);
  CHECK(test.server->stats().failed_handshakes == 0);
}
