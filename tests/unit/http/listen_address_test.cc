#include "http/listen_address.h"

#include <doctest/doctest.h>
#include <sys/socket.h>

#include <string>

#include "tests/unit/http/client.h"
#include "tests/unit/http/fixture.h"

using sharder::ErrorCode;
using sharder::http::listen_on;
using sharder::http::parse_listen_address;
using sharder::testing::Client;
using sharder::testing::kGet;
using sharder::testing::TestServer;

TEST_CASE("listen addresses are host:port, :port or [ipv6]:port") {
  struct Case {
    const char* text;
    const char* host;  // null: an error
    int port;
  };
  for (const auto& [text, host, port] :
       {Case{":9443", "", 9443}, Case{"127.0.0.1:0", "127.0.0.1", 0}, Case{"[::1]:80", "::1", 80},
        Case{"localhost:8081", "localhost", 8081}, Case{"[fe80::1%eth0]:65535", "fe80::1%eth0", 65535},
        Case{"", nullptr, 0}, Case{"0", nullptr, 0}, Case{"localhost", nullptr, 0}, Case{"::1:80", nullptr, 0},
        Case{"[::1]", nullptr, 0}, Case{"[]:80", nullptr, 0}, Case{"[::1:80", nullptr, 0}, Case{":", nullptr, 0},
        Case{":65536", nullptr, 0}, Case{":-1", nullptr, 0}, Case{":http", nullptr, 0}, Case{":80 ", nullptr, 0}}) {
    CAPTURE(text);
    const auto address = parse_listen_address(text);
    REQUIRE(address.has_value() == (host != nullptr));
    if (address) {
      CHECK(address->host == host);
      CHECK(address->port == port);
    } else {
      CHECK(address.error().code == ErrorCode::kInvalid);
    }
  }
}

TEST_CASE("an address that cannot be listened on is named, with the reason") {
  const auto taken = listen_on("127.0.0.1:0");
  REQUIRE(taken);
  const std::string again = "127.0.0.1:" + std::to_string(taken->port);
  for (const auto& [address, reason] :
       {std::pair(again, "in use"), std::pair(std::string("192.0.2.1:0"), "assign"),
        std::pair(std::string("nosuch.invalid:80"), ""), std::pair(std::string("nonsense"), "no port")}) {
    const auto refused = listen_on(address);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == ErrorCode::kInvalid);
    CHECK(refused.error().message.find("listen on " + address + ": ") == 0);
    CHECK(refused.error().message.find(reason) != std::string::npos);
  }
  // All interfaces: the port is taken there too, and that is said instead of trying IPv4 alone.
  const auto all = listen_on(":0");
  REQUIRE(all);
  CHECK(listen_on(":" + std::to_string(all->port)).error().message.find("in use") != std::string::npos);
}

TEST_CASE("without a host, IPv4 and IPv6 clients are served, with a name its address") {
  sharder::http::ServerOptions options;
  options.address = ":0";
  TestServer test(options);
  Client v4(test.port);
  CHECK(v4.ask(kGet)->status == 200);
  if (listen_on("[::1]:0")) {  // machines without IPv6 have only the other
    Client v6(test.port, {.host = "::1"});
    CHECK(v6.ask(kGet)->status == 200);
  }
  options.address = "localhost:0";
  TestServer named(options);
  Client client(named.port);
  CHECK(client.ask(kGet)->status == 200);
}

TEST_CASE("a server without an address it can use, or without a certificate, does not start") {
  const auto start = [](sharder::http::ServerOptions options) {
    sharder::testing::ReplyBox box;
    sharder::http::Server server(
        std::move(options), [&](unsigned) { return std::make_unique<sharder::testing::TestHandler>(box); },
        sharder::Logger::none());
    CHECK(server.port() == 0);
    return server.start();
  };
  CHECK(start({.address = "192.0.2.1:0"}).error().message.find("192.0.2.1:0") != std::string::npos);
  sharder::Published<sharder::TlsIdentity> identity;
  CHECK(start({.address = "127.0.0.1:0", .tls = &identity}));  // one may come later
  identity.publish(std::make_shared<const sharder::TlsIdentity>());
  CHECK(start({.address = "127.0.0.1:0", .tls = &identity}).error().code == ErrorCode::kInvalid);
}
