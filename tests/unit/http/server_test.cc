#include "http/server.h"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "tests/unit/http/client.h"
#include "tests/unit/http/fixture.h"

using namespace std::chrono_literals;
using sharder::http::Limits;
using sharder::http::ServerOptions;
using sharder::testing::Client;
using sharder::testing::eventually;
using sharder::testing::kGet;
using sharder::testing::post;
using sharder::testing::TestServer;

TEST_CASE("an answer carries status, type, length, date and body, and the connection stays") {
  TestServer test;
  Client client(test.port);
  for (int i = 0; i < 3; ++i) {
    const auto answer = client.ask(
        "PUT /info?a=b&c HTTP/1.1\r\nHost: x\r\nContent-Type: text/x\r\n"
        "authorization:  Bearer t \r\nContent-Length: 0\r\n\r\n");
    REQUIRE(answer);
    CHECK(answer->status == 200);
    CHECK(answer->body == "PUT /info a=b&c text/x Bearer t");
    CHECK(answer->header("content-type") == "text/plain; charset=utf-8");
    CHECK(answer->header("date").ends_with(" GMT"));
    CHECK(answer->header("connection").empty());
  }
  CHECK(test.server->stats().requests == 3);
  CHECK(test.server->stats().accepted == 1);
  CHECK(test.server->stats().connections == 1);
}

TEST_CASE("bodies up to the limit arrive whole, with plain HTTP and TLS") {
  for (const bool tls : {false, true}) {
    TestServer test({}, tls);
    Client client(test.port, {.tls = tls});
    for (const std::size_t size :
         {std::size_t{0}, std::size_t{1}, std::size_t{2048}, std::size_t{16'000}, std::size_t{16'384},
          std::size_t{16'385}, std::size_t{300'000}, Limits{}.max_body_bytes}) {
      CAPTURE(size);
      std::string body(size, 'x');
      for (std::size_t i = 0; i < size; i += 97) {
        body[i] = static_cast<char>('a' + i % 26);
      }
      const auto answer = client.ask(post(body, "Content-Type: application/json\r\n"));
      REQUIRE(answer);
      CHECK(answer->status == 200);
      CHECK(answer->body == body);
      CHECK(answer->header("content-type") == "application/json");
    }
  }
}

TEST_CASE("a request may arrive byte by byte") {
  TestServer test;
  Client client(test.port);
  for (const std::string& request :
       {post("hello"), std::string("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "
                                   "chunked\r\n\r\n3;a=b\r\nhel\r\n2\r\nlo\r\n0\r\nT: 1\r\n\r\n")}) {
    for (const char c : request) {
      REQUIRE(client.send({&c, 1}));
    }
    const auto answer = client.read_answer();
    REQUIRE(answer);
    CHECK(answer->body == "hello");
  }
}

TEST_CASE("pipelined requests are answered in order, however many") {
  for (const bool tls : {false, true}) {
    TestServer test({}, tls);
    Client client(test.port, {.tls = tls});
    std::string requests;
    constexpr int kCount = 200;
    for (int i = 0; i < kCount; ++i) {
      requests += i % 3 == 0 ? "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n" +
                                   std::to_string(1000 + i) + "\r\n0\r\n\r\n"
                             : post(std::to_string(1000 + i));
    }
    REQUIRE(client.send(requests));
    for (int i = 0; i < kCount; ++i) {
      const auto answer = client.read_answer();
      REQUIRE(answer);
      CHECK(answer->body == std::to_string(1000 + i));
    }
  }
}

TEST_CASE("pipelined requests wait for an answer that comes from another thread") {
  TestServer test;
  Client client(test.port);
  REQUIRE(client.send(post("", "", "/later") + post("second")));
  auto reply = test.later.take();
  reply({.body = "first"});
  CHECK(client.read_answer()->body == "first");
  CHECK(client.read_answer()->body == "second");
}

TEST_CASE("HEAD, 204 and HTTP/1.0 are answered without what they must not have") {
  TestServer test;
  {
    Client client(test.port);
    REQUIRE(client.send("HEAD /info HTTP/1.1\r\nHost: x\r\n\r\n"));
    const auto head = client.read_answer(true);
    REQUIRE(head);
    CHECK(head->header("content-length") == "13");
    const auto nothing = client.ask("GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n");
    REQUIRE(nothing);
    CHECK(nothing->status == 204);
    CHECK(nothing->header("content-length").empty());
    CHECK(nothing->header("x-extra") == "yes");
  }
  Client old(test.port);
  const auto answer = old.ask("GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  REQUIRE(answer);
  CHECK(answer->status == 200);
  CHECK(answer->header("connection") == "close");
  CHECK(old.is_closed());
}

TEST_CASE("Connection: close is obeyed") {
  TestServer test;
  Client client(test.port);
  const auto answer = client.ask("GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  REQUIRE(answer);
  CHECK(answer->header("connection") == "close");
  CHECK(client.is_closed());
}

TEST_CASE("a handler that throws or forgets to answer is a 500, and the connection stays") {
  TestServer test;
  Client client(test.port);
  for (const char* path : {"/throw", "/throw-int", "/drop", "/split-header"}) {
    CAPTURE(path);
    const auto answer = client.ask(post("x", "", path));
    REQUIRE(answer);
    CHECK(answer->status == 500);
    CHECK(answer->header("x-injected").empty());
  }
  CHECK(client.ask(kGet)->status == 200);
  CHECK(test.log().find("on purpose") != std::string::npos);
}

TEST_CASE("a reply may be called late, twice, or not at all, from any thread") {
  TestServer test;
  Client client(test.port);
  REQUIRE(client.send(post("", "", "/later")));
  auto reply = test.later.take();
  reply({.body = "once"});
  reply({.body = "twice"});
  CHECK(client.read_answer()->body == "once");

  REQUIRE(client.send(post("", "", "/later")));
  test.later.take() = nullptr;
  CHECK(client.read_answer()->status == 500);
  CHECK(client.ask(kGet)->status == 200);
}

TEST_CASE("a reply outlives its connection and its server") {
  sharder::http::Reply after_connection;
  sharder::http::Reply after_server;
  sharder::http::Reply dropped_after_server;
  {
    TestServer test;
    {
      Client client(test.port);
      REQUIRE(client.send(post("", "", "/later")));
      after_connection = test.later.take();
      client.reset();
    }
    after_connection({.body = "too late"});
    Client waiting(test.port);
    REQUIRE(waiting.send(post("", "", "/later")));
    after_server = test.later.take();
    Client another(test.port);
    REQUIRE(another.send(post("", "", "/later")));
    dropped_after_server = test.later.take();
    CHECK(test.server->stop(0ms) == false);
    CHECK(waiting.is_closed());
  }
  after_server({.body = "too late"});
}

TEST_CASE("many clients on several loops get their own answers") {
  for (const bool tls : {false, true}) {
    TestServer test({.loops = 3}, tls);
    std::atomic<int> wrong = 0;
    {
      std::vector<std::jthread> clients;
      for (int i = 0; i < 8; ++i) {
        clients.emplace_back([&, i] {
          for (int connection = 0; connection < 5; ++connection) {
            Client client(test.port, {.tls = tls});
            for (int request = 0; request < 20; ++request) {
              const std::string body = std::to_string(i) + "/" + std::to_string(connection * 100 + request);
              const auto answer = client.ask(post(body));
              wrong += answer && answer->body == body ? 0 : 1;
            }
          }
        });
      }
    }
    CHECK(wrong == 0);
    CHECK(test.server->stats().requests == 800);
    CHECK(test.server->stats().accepted == 40);
    CHECK(eventually([&] { return test.server->stats().connections == 0; }));
  }
}

TEST_CASE("Expect: 100-continue is answered before the body, unless the body is rejected anyway") {
  TestServer test;
  {
    Client client(test.port);
    const auto interim =
        client.ask("POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    REQUIRE(interim);
    CHECK(interim->status == 100);
    CHECK(client.ask("hello")->body == "hello");
    CHECK(client.ask(post("at once", "Expect: 100-Continue\r\n"))->body == "at once");
  }
  Client client(test.port);
  const auto refused =
      client.ask("POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 99999999\r\n\r\n");
  REQUIRE(refused);
  CHECK(refused->status == 413);
}

// docs/design.md, invariant 10.
TEST_CASE("while draining, each answer closes its connection, new connections included") {
  TestServer test;
  Client before(test.port);
  CHECK(before.ask(kGet)->header("connection").empty());
  Client in_flight(test.port);
  REQUIRE(in_flight.send(post("", "", "/later")));
  auto reply = test.later.take();
  test.server->begin_drain();
  CHECK(before.ask(kGet)->header("connection") == "close");
  CHECK(before.is_closed());
  reply({.body = "late"});
  const auto late = in_flight.read_answer();
  REQUIRE(late);
  CHECK(late->header("connection") == "close");
  CHECK(in_flight.is_closed());
  Client after(test.port);
  CHECK(after.ask(kGet)->header("connection") == "close");
  CHECK(after.is_closed());
}

TEST_CASE("stop closes idle connections and lets requests in flight finish") {
  for (const bool tls : {false, true}) {
    TestServer test({.loops = 2}, tls);
    Client idle(test.port, {.tls = tls});
    CHECK(idle.ask(kGet)->status == 200);
    Client silent(test.port);  // with TLS: it never begins its handshake
    Client in_flight(test.port, {.tls = tls});
    REQUIRE(in_flight.send(post("", "", "/later")));
    auto reply = test.later.take();
    CHECK(eventually([&] { return test.server->stats().connections == 3; }));
    std::atomic<int> result = -1;
    std::jthread stopper([&] { result = test.server->stop(std::nullopt) ? 1 : 0; });
    CHECK(idle.is_closed());
    CHECK(silent.is_closed());
    CHECK(result == -1);
    reply({.body = "finished"});
    const auto answer = in_flight.read_answer();
    REQUIRE(answer);
    CHECK(answer->body == "finished");
    CHECK(answer->header("connection") == "close");
    CHECK(in_flight.is_closed());
    stopper.join();
    CHECK(result == 1);
    CHECK(test.server->stats().connections == 0);
    CHECK_THROWS(Client(test.port));
  }
}

TEST_CASE("stop cuts what is not finished after its grace, and says so") {
  TestServer test;
  Client in_flight(test.port);
  REQUIRE(in_flight.send(post("", "", "/later")));
  auto reply = test.later.take();
  CHECK_FALSE(test.server->stop(20ms));
  CHECK(in_flight.is_closed());
  CHECK(test.server->stop(20ms));  // stopped already
}

TEST_CASE("stop without connections returns at once, even with no limit") {
  for (int i = 0; i < 20; ++i) {
    TestServer test({.loops = 2});
    CHECK(test.server->stop(std::nullopt));
  }
}

TEST_CASE("an answer larger than the socket's buffers reaches a client that reads late") {
  for (const bool tls : {false, true}) {
    TestServer test({}, tls);
    Client client(test.port, {.tls = tls, .receive_buffer = 4096});
    REQUIRE(client.send("GET /big HTTP/1.1\r\nHost: x\r\n\r\n" + kGet));
    CHECK(eventually([&] { return test.server->stats().requests == 1; }));
    const auto answer = client.read_answer();
    REQUIRE(answer);
    CHECK(answer->body == std::string(8 * 1024 * 1024, 'b'));
    CHECK(client.read_answer()->status == 200);
  }
}

TEST_CASE("a handler is given the host that the client called: of an absolute target, else the Host header") {
  TestServer test;
  Client client(test.port);
  CHECK(client.ask("GET /host HTTP/1.1\r\nHost: a.example:80 \r\n\r\n")->body == "a.example:80");
  CHECK(client.ask("GET http://b.example/host HTTP/1.1\r\nHost: a.example\r\n\r\n")->body == "b.example");
  CHECK(client.ask("GET /host HTTP/1.1\r\nHost:\r\n\r\n")->body.empty());
}
