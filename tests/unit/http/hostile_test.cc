#include <doctest/doctest.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include "tests/unit/http/client.h"
#include "tests/unit/http/fixture.h"

// What hostile or broken clients send (docs/design.md, section 7). Whatever it is, it gets a 4xx with one line of
// reason or a clean close, and a well-behaved connection beside it notices nothing.

using namespace std::chrono_literals;
using namespace std::string_literals;
using sharder::http::Limits;
using sharder::testing::Answer;
using sharder::testing::Client;
using sharder::testing::eventually;
using sharder::testing::kGet;
using sharder::testing::post;
using sharder::testing::TestServer;

namespace {

std::string with_header(const std::string& header) {
  return "POST /echo HTTP/1.1\r\nHost: x\r\n" + header + "\r\n\r\n";
}

std::string chunked(const std::string& body) {
  return "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + body;
}

struct Case {
  const char* name;
  std::string request;
  int status;  // of the only answer, after which the connection is closed
};

const std::vector<Case>& refused() {
  static const std::vector<Case> kCases = {
      // Request line
      {"no HTTP at all", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"s, 400},
      {"an empty line first", "\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"a line without CR", "GET / HTTP/1.1\nHost: x\n\n", 400},
      {"a header line without CR", "GET / HTTP/1.1\r\nHost: x\n\r\n", 400},
      {"a lone CR in the request line", "GET /\r HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"no version", "GET /\r\nHost: x\r\n\r\n", 400},
      {"no target", "GET  HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"a space in the target", "GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"NUL in the target", "GET /a\0b HTTP/1.1\r\nHost: x\r\n\r\n"s, 400},
      {"a byte over 127 in the target", "GET /\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"a fragment in the target", "GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"a target that is no path", "GET hello HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"a * of another method than OPTIONS", "GET * HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"CONNECT", "CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"an absolute target without a host", "GET http:///a HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"an absolute target without a path", "GET http://x HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"a method with a control character", "G\x01T / HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"HTTP/2 by prior knowledge", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
      {"HTTP/1.2", "GET / HTTP/1.2\r\nHost: x\r\n\r\n", 505},
      {"HTTP/0.9 in form", "GET / HTTP/0.9\r\nHost: x\r\n\r\n", 505},
      {"another protocol", "GET / FTTP/1.1\r\nHost: x\r\n\r\n", 400},
      // Headers
      {"no Host", "GET / HTTP/1.1\r\n\r\n", 400},
      {"two Hosts", "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400},
      {"NUL in a value", with_header("X: a\0b"s), 400},
      {"CR in a value", with_header("X: a\rb"), 400},
      {"a control character in a value", with_header("X: a\x01"), 400},
      {"NUL in a name", with_header("X\0Y: a"s), 400},
      {"CR in a name", with_header("X\rY: a"), 400},
      {"a space in a name", with_header("X Y: a"), 400},
      {"a space before the colon", with_header("Content-Length : 0"), 400},
      {"no name", with_header(": a"), 400},
      {"no colon", with_header("Content-Length"), 400},
      {"a folded line", with_header("X: a\r\n b"), 400},
      {"a folded line at once", "GET / HTTP/1.1\r\n Host: x\r\n\r\n", 400},
      {"two Authorizations", with_header("Authorization: a\r\nAuthorization: b"), 400},
      {"two Content-Types", with_header("Content-Type: a\r\nContent-Type: b"), 400},
      {"an unknown expectation", with_header("Expect: cake"), 417},
      {"Content-Encoding", with_header("Content-Encoding: gzip\r\nContent-Length: 0"), 415},
      {"a malformed Connection", with_header("Connection: a b"), 400},
      // Lengths
      {"Content-Length twice, alike", with_header("Content-Length: 0\r\nContent-Length: 0"), 400},
      {"Content-Length twice, different", with_header("Content-Length: 0\r\nContent-Length: 5"), 400},
      {"Content-Length as a list", with_header("Content-Length: 0, 0"), 400},
      {"Content-Length below zero", with_header("Content-Length: -1"), 400},
      {"Content-Length with a plus", with_header("Content-Length: +1"), 400},
      {"Content-Length in hex", with_header("Content-Length: 0x1"), 400},
      {"Content-Length empty", with_header("Content-Length:"), 400},
      {"Content-Length past 64 bits", with_header("Content-Length: 18446744073709551616"), 400},
      {"Content-Length of 64 bits", with_header("Content-Length: 18446744073709551615"), 413},
      {"Content-Length past the limit", with_header("Content-Length: 7340033"), 413},
      {"Content-Length beside Transfer-Encoding", with_header("Content-Length: 5\r\nTransfer-Encoding: chunked"), 400},
      {"Transfer-Encoding beside Content-Length", with_header("Transfer-Encoding: chunked\r\nContent-Length: 5"), 400},
      {"Transfer-Encoding twice", with_header("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), 400},
      {"Transfer-Encoding gzip", with_header("Transfer-Encoding: gzip"), 501},
      {"Transfer-Encoding gzip, chunked", with_header("Transfer-Encoding: gzip, chunked"), 501},
      {"Transfer-Encoding chunked, chunked", with_header("Transfer-Encoding: chunked, chunked"), 501},
      {"Transfer-Encoding identity", with_header("Transfer-Encoding: identity"), 501},
      {"Transfer-Encoding with a vertical tab",
       with_header("Transfer-Encoding: \x0b"
                   "chunked"),
       400},
      {"Transfer-Encoding in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {"a body on GET", "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", 400},
      {"a chunked body on GET", "GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      // Chunks
      {"a chunk of size -2", chunked("-2\r\n"), 400},
      {"a chunk of size +2", chunked("+2\r\n"), 400},
      {"a chunk of size 0x2", chunked("0x2\r\nab\r\n"), 400},
      {"a chunk size of 17 digits", chunked("00000000000000001\r\na\r\n"), 400},
      {"a chunk size of 16 digits", chunked("ffffffffffffffff\r\n"), 413},
      {"a chunk past the limit", chunked("700001\r\n"), 413},
      {"a chunk without a size", chunked("\r\n"), 400},
      {"a space before the size", chunked(" 1\r\na\r\n"), 400},
      {"a chunk longer than its size", chunked("1\r\nab\r\n"), 400},
      {"a size line without CR", chunked("1\na\r\n"), 400},
      {"a size line with a lone CR", chunked("1\rx"), 400},
      {"data that ends without CR", chunked("1\r\na\n"), 400},
      {"data that ends without LF", chunked("1\r\na\rx"), 400},
      {"LF within an extension", chunked("1;a\nb\r\na\r\n"), 400},
      {"extensions without end", chunked("1;" + std::string(70'000, 'e')), 431},
      {"trailers without end", chunked("0\r\n" + std::string(70'000, 't')), 431},
      {"a lone CR in a trailer", chunked("0\r\nT: a\rb\r\n\r\n"), 400},
      {"NUL in a trailer", chunked("0\r\nT: \0\r\n\r\n"s), 400},
      {"an end without LF", chunked("0\r\n\rx"), 400},
      // Sizes of heads
      {"a line without end", "GET /" + std::string(70'000, 'a'), 431},
      {"a header without end", "GET / HTTP/1.1\r\nX: " + std::string(70'000, 'a'), 431},
      {"headers without end",
       [] {
         std::string request = "GET / HTTP/1.1\r\n";
         while (request.size() < 70'000) {
           request += "X-Name: value\r\n";
         }
         return request;
       }(),
       431},
      {"a whole head past the limit", "GET / HTTP/1.1\r\nHost: x\r\nX: " + std::string(65'536, 'a') + "\r\n\r\n", 431},
  };
  return kCases;
}

}  // namespace

TEST_CASE("hostile requests get one 4xx with a line of reason and a close; the neighbour is unharmed") {
  for (const bool tls : {false, true}) {
    TestServer test({}, tls);
    Client neighbour(test.port, {.tls = tls});
    CHECK(neighbour.ask(kGet)->status == 200);
    for (const auto& [name, request, status] : refused()) {
      CAPTURE(name);
      CAPTURE(tls);
      Client client(test.port, {.tls = tls});
      // What follows it must not be taken for a request of its own.
      client.send(request + (request.size() < 1000 ? "\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n" : ""));
      const auto answer = client.read_answer();
      REQUIRE(answer);
      CHECK(answer->status == status);
      CHECK(answer->header("connection") == "close");
      CHECK(answer->body.size() > 5);
      CHECK(answer->body.find('\n') == answer->body.size() - 1);
      client.half_close();
      CHECK(client.is_closed());
      CHECK(neighbour.ask(kGet)->status == 200);
    }
    const auto stats = test.server->stats();
    CHECK(stats.rejected == refused().size());
    CHECK(stats.requests == refused().size() + 1);
    CHECK(eventually([&] { return test.server->stats().connections == 1; }));
  }
}

TEST_CASE("unusual but correct requests are served") {
  TestServer test;
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"GET http://other:1/a/b?c=d HTTP/1.1\r\nHost: x\r\n\r\n", "GET /a/b c=d  "},
      {"GET HTTPS://other/ HTTP/1.1\r\nHost: x\r\n\r\n", "GET /   "},
      {"GET /%2e%2e/%00?%0d HTTP/1.1\r\nHost: x\r\n\r\n", "GET /%2e%2e/%00 %0d  "},
      {"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "OPTIONS *   "},
      {"BREW /pot HTTP/1.1\r\nHost: x\r\n\r\n", "BREW /pot   "},
      {"GET / HTTP/1.1\r\nHost:\r\nX: \xff\t\xfe\r\nContent-Encoding: identity\r\nContent-Length: 0\r\n\r\n",
       "GET /   "},
      {"GET /? HTTP/1.1\r\nHost: x\r\n\r\n", "GET /   "},
      {"GET /?a?b HTTP/1.1\r\nHost: x\r\nX: " + std::string(60'000, 'a') + "\r\n\r\n", "GET / a?b  "},
  };
  Client client(test.port);
  for (const auto& [request, body] : cases) {
    CAPTURE(body);
    const auto answer = client.ask(request);
    REQUIRE(answer);
    CHECK(answer->status == 200);
    CHECK(answer->body == body);
  }
  for (const auto& [request, body] : std::vector<std::pair<std::string, std::string>>{
           {chunked("0\r\n\r\n"), ""},
           {chunked("00a;x=\"y\"\r\n0123456789\r\n0;last\r\nTrailer: 1\r\nOther: 2\r\n\r\n"), "0123456789"},
           {chunked("A \r\n0123456789\r\n0\r\n\r\n"), "0123456789"},
           {with_header("Transfer-Encoding: Chunked") + "1\r\na\r\n0\r\n\r\n", "a"}}) {
    CAPTURE(request);
    const auto answer = client.ask(request);
    REQUIRE(answer);
    CHECK(answer->status == 200);
    CHECK(answer->body == body);
  }
}

TEST_CASE("a chunked body up to the limit arrives, whatever its chunks, and past it gets 413") {
  TestServer test;
  Client client(test.port);
  for (const std::size_t chunk : {std::size_t{1000}, std::size_t{65'536}, Limits{}.max_body_bytes}) {
    CAPTURE(chunk);
    std::string expected;
    std::string body;
    while (expected.size() < Limits{}.max_body_bytes) {
      const std::size_t size = std::min(chunk, Limits{}.max_body_bytes - expected.size());
      const std::string data(size, static_cast<char>('a' + expected.size() / chunk % 26));
      expected += data;
      std::array<char, 32> line;
      body.append(line.data(), static_cast<std::size_t>(std::snprintf(line.data(), line.size(), "%zx\r\n", size)));
      body += data + "\r\n";
    }
    CHECK(client.ask(chunked(body + "0\r\n\r\n"))->body == expected);
    Client too_much(test.port);
    // The server answers while we still send.
    std::jthread sender([&] { too_much.send(chunked(body + "1\r\nx\r\n0\r\n\r\n")); });
    const auto answer = too_much.read_answer();
    REQUIRE(answer);
    CHECK(answer->status == 413);
  }
}

TEST_CASE("a client that announces too much and sends it all the same still gets its 413") {
  for (const bool tls : {false, true}) {
    TestServer test({}, tls);
    Client client(test.port, {.tls = tls});
    client.send(post(std::string(8 * 1024 * 1024, 'x')));
    const auto answer = client.read_answer();
    REQUIRE(answer);
    CHECK(answer->status == 413);
  }
}

TEST_CASE("a request that comes too slowly gets 408") {
  sharder::http::ServerOptions options;
  options.limits.header_timeout = 50ms;
  options.limits.body_timeout = 50ms;
  for (const bool tls : {false, true}) {
    TestServer test(options, tls);
    CAPTURE(tls);
    for (const std::string& beginning : {"G"s, "GET / HTTP/1.1\r\nHost: x\r\n"s, post("").substr(0, 40),
                                         post("hello").substr(0, post("hello").size() - 1), chunked("5\r\nhel")}) {
      CAPTURE(beginning);
      Client client(test.port, {.tls = tls});
      const auto answer = client.ask(beginning);
      REQUIRE(answer);
      CHECK(answer->status == 408);
      CHECK(client.is_closed());
    }
  }
}

TEST_CASE("a client that says nothing is closed: in the handshake, before its first request, after it") {
  sharder::http::ServerOptions options;
  options.limits.handshake_timeout = 50ms;
  TestServer in_handshake(options, true);
  Client stalled(in_handshake.port);
  CHECK(stalled.is_closed());

  options.limits.idle_timeout = 50ms;
  TestServer plain(options);
  Client silent(plain.port);
  CHECK(silent.is_closed());
  CHECK(eventually([&] {  // on a busy machine the first request may be too late as well
    Client idle(plain.port);
    return idle.ask(kGet) && idle.is_closed();
  }));
}

TEST_CASE("trickling bytes does not stretch a deadline") {
  sharder::http::ServerOptions options;
  options.limits.header_timeout = 100ms;
  TestServer test(options);
  Client client(test.port);
  client.send("GET / HTTP/1.1\r\nX: ");
  std::jthread trickle([&](const std::stop_token& stop) {
    while (!stop.stop_requested() && client.send("a")) {
      std::this_thread::sleep_for(5ms);
    }
  });
  const auto answer = client.read_answer();
  REQUIRE(answer);
  CHECK(answer->status == 408);
}

TEST_CASE("a client that does not read its answer is cut after the write deadline") {
  sharder::http::ServerOptions options;
  options.limits.write_timeout = 50ms;
  for (const bool tls : {false, true}) {
    TestServer test(options, tls);
    Client client(test.port, {.tls = tls, .receive_buffer = 4096});
    REQUIRE(client.send("GET /big HTTP/1.1\r\nHost: x\r\n\r\n"));
    CHECK(eventually([&] { return test.server->stats().requests == 1; }));
    CHECK(eventually([&] { return test.server->stats().connections == 0; }));
  }
}

TEST_CASE("a half-closed client gets its answers, then the end") {
  for (const bool tls : {false, true}) {
    TestServer test({}, tls);
    Client client(test.port, {.tls = tls});
    REQUIRE(client.send(post("a") + post("b")));
    client.half_close();
    CHECK(client.read_answer()->body == "a");
    CHECK(client.read_answer()->body == "b");
    CHECK(client.is_closed());

    Client cut(test.port, {.tls = tls});
    REQUIRE(cut.send("GET / HTTP/1.1\r\nHo"));
    cut.half_close();
    CHECK(cut.is_closed());
  }
}

TEST_CASE("clients that reset their connection at any point do no harm") {
  for (const bool tls : {false, true}) {
    TestServer test({}, tls);
    for (const std::string& sent :
         {""s, "GET"s, post("hello").substr(0, 70), kGet, "GET /big HTTP/1.1\r\nHost: x\r\n\r\n"s, kGet + kGet + "G"}) {
      Client client(test.port, {.tls = tls});
      client.send(sent);
      client.reset();
    }
    {
      Client client(test.port, {.tls = tls});
      client.send(post("", "", "/later"));
      auto reply = test.later.take();
      client.reset();
      std::this_thread::sleep_for(5ms);
      reply({.body = std::string(100'000, 'x')});
    }
    CHECK(eventually([&] { return test.server->stats().connections == 0; }));
    Client client(test.port, {.tls = tls});
    CHECK(client.ask(kGet)->status == 200);
  }
}

TEST_CASE("plain HTTP to the TLS port gets a 400 that says so") {
  TestServer test({}, true);
  for (const std::string& request : {kGet, post(std::string(100'000, 'x'))}) {
    Client client(test.port);
    client.send(request);
    const auto answer = client.read_answer();
    REQUIRE(answer);
    CHECK(answer->status == 400);
    CHECK(answer->body.find("HTTPS") != std::string::npos);
  }
}

TEST_CASE("who leaves, errs or stalls in the handshake harms nobody") {
  TestServer test({}, true);
  Client neighbour(test.port, {.tls = true});
  CHECK(neighbour.ask(kGet)->status == 200);
  for (const std::string& sent : {""s, "\x16"s, "\x16\x03\x01\x00\x10garbage-garbage-"s, "\x80\x2e\x01\x00\x02"s,
                                  "SSH-2.0-x\r\n"s, std::string(20'000, '\xff')}) {
    Client client(test.port);
    client.send(sent);
    client.half_close();
    client.read_to_end();  // an alert may come first
    CHECK(neighbour.ask(kGet)->status == 200);
  }
  Client stalled(test.port);
  stalled.send("\x16\x03\x01");
  CHECK(neighbour.ask(kGet)->status == 200);
  CHECK(eventually([&] { return test.server->stats().failed_handshakes >= 5; }));
}
