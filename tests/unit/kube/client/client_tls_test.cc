// The client over TLS: trust, rotation, client certificates, HTTP/2, proxies.
#include <doctest/doctest.h>

#include <atomic>
#include <cstdlib>
#include <functional>
#include <future>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>
#include <vector>

#include "kube/client/client.h"
#include "kube/codec/pem.h"
#include "tests/support/call.h"
#include "tests/support/eventually.h"
#include "tests/unit/kube/h2_server.h"
#include "tests/unit/kube/http_server.h"
#include "tests/unit/kube/loopback.h"

namespace sharder::kube {
namespace {

using namespace std::chrono_literals;
using testing::call;
using testing::eventually;
using testing::H2Server;
using testing::HttpServer;
using testing::Loopback;
using testing::TempFolder;
using testing::TestCa;
using testing::TestCertificate;

const TestCa& ca() {
  static const TestCa instance;
  return instance;
}
const TestCertificate& identity() {
  static const TestCertificate instance = ca().issue();
  return instance;
}

void ok(const httplib::Request& request, httplib::Response& response) {
  response.set_content("ok " + request.get_header_value("Host"), "text/plain");
}

ClusterConfig trusting(const std::string& server, const std::string& ca_pem = ca().certificate_pem()) {
  ClusterConfig config;
  config.server = server;
  config.ca_pem = ca_pem;
  return config;
}

std::unique_ptr<Client> make(const ClusterConfig& config) {
  auto client = Client::create(config, {}, nullptr, Logger::none());
  REQUIRE(client);
  return *std::move(client);
}

std::string message_of(const Result<Response>& answer) {
  REQUIRE_FALSE(answer);
  return answer.error().message;
}

TEST_CASE("a server with a certificate of the trusted authority is believed, another is not") {
  const HttpServer server(ok, identity());
  CHECK(call(*make(trusting(server.url())), {.target = "/"}));
  const TestCa other;
  const auto answer = call(*make(trusting(server.url(), other.certificate_pem())), {.target = "/x"});
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == ErrorCode::kUnavailable);
  CHECK(answer.error().message.starts_with("GET /x: TLS with " + server.address() + ": "));
  CHECK_FALSE(call(*make(trusting(server.url(), "")), {.target = "/"}));  // the system's roots do not know it
}

TEST_CASE("beside a damaged certificate that of the authority is believed, as in Go") {
  const HttpServer server(ok, identity());
  std::string damaged = TestCa().certificate_pem();
  damaged.replace(damaged.find('\n') + 1, 20, 20, 'A');
  CHECK(call(*make(trusting(server.url(), damaged + ca().certificate_pem())), {.target = "/"}));
  CHECK(call(*make(trusting(server.url(), ca().certificate_pem() + damaged)), {.target = "/"}));
}

TEST_CASE("without verification any certificate will do") {
  const HttpServer server(ok, identity());
  ClusterConfig config = trusting(server.url(), "");
  config.insecure_skip_tls_verify = true;
  CHECK(call(*make(config), {.target = "/"}));
}

TEST_CASE("the certificate must be for the host, or for the name that is expected instead") {
  const HttpServer server(ok, ca().issue({.common_name = "api", .dns_names = {"api.example.com"}, .ip_addresses = {}}));
  CHECK_FALSE(call(*make(trusting(server.url())), {.target = "/"}));
  ClusterConfig config = trusting(server.url());
  config.tls_server_name = "api.example.com";
  const auto answer = call(*make(config), {.target = "/"});
  REQUIRE(answer);
  CHECK(answer->body == "ok " + server.address());  // the Host is the server's all the same
  config.tls_server_name = "other.example.com";
  CHECK_FALSE(call(*make(config), {.target = "/"}));
}

TEST_CASE("a client certificate is shown") {
  const HttpServer server(ok, identity(), ca().certificate_pem());
  CHECK_FALSE(call(*make(trusting(server.url())), {.target = "/"}));
  ClusterConfig config = trusting(server.url());
  const auto leaf = ca().issue({.common_name = "me"});
  config.client_certificate_pem = leaf.certificate_pem;
  config.client_key_pem = leaf.private_key_pem;
  CHECK(call(*make(config), {.target = "/"}));
}

TEST_CASE("a client certificate comes from an exec plugin") {
  const HttpServer server(ok, identity(), ca().certificate_pem());
  const TempFolder folder;
  const auto leaf = ca().issue({.common_name = "me"});
  const nlohmann::json credential = {
      {"apiVersion", "client.authentication.k8s.io/v1"},
      {"kind", "ExecCredential"},
      {"status", {{"clientCertificateData", leaf.certificate_pem}, {"clientKeyData", leaf.private_key_pem}}}};
  ClusterConfig config = trusting(server.url());
  config.exec = ExecPlugin{.command = "cat",
                           .args = {folder.write("credential", credential.dump())},
                           .env = {},
                           .api_version = "client.authentication.k8s.io/v1",
                           .install_hint = {},
                           .provide_cluster_info = false,
                           .cluster_extension = {}};
  CHECK(call(*make(config), {.target = "/", .timeout = 60s}));
}

TEST_CASE("an authority that was rotated on disk is believed without a restart") {
  const TestCa next("next");
  const TempFolder folder;
  ClusterConfig config = trusting("");
  config.ca_file = folder.write("ca.crt", ca().certificate_pem());
  const auto say = [](const char* word) {
    return [word](H2Server::Connection& connection, std::uint32_t stream) { connection.answer(stream, word); };
  };
  auto server = std::make_unique<H2Server>(identity(), say("old"));
  const std::uint16_t port = server->port();
  config.server = server->url();
  const auto client = make(config);
  REQUIRE(call(*client, {.target = "/"}));

  server.reset();
  const H2Server rotated(next.issue(), say("new"), port);
  CHECK_FALSE(call(*client, {.target = "/"}));
  folder.write("ca.crt", "half written");
  CHECK_FALSE(call(*client, {.target = "/"}));  // the old one stays
  folder.write("ca.crt", next.certificate_pem());
  const auto answer = call(*client, {.target = "/"});
  REQUIRE(answer);
  CHECK(answer->body == "new");
}

// --- HTTP/1.1
// -----------------------------------------------------------------------------------------------------------

// Answers only when `wanted` requests have come, so each of them must have a connection of its own.
HttpServer::Handler all_together(int wanted) {
  auto came = std::make_shared<std::atomic<int>>(0);
  return [came, wanted](const httplib::Request& request, httplib::Response& response) {
    const int number = ++*came;
    // One batch after the other.
    const int enough = (number + wanted - 1) / wanted * wanted;
    response.set_content(eventually([&] { return *came >= enough; }) ? request.path : "alone", "text/plain");
  };
}

struct Counts final : StreamSink {
  void on_open() override { ++opened; }
  void on_data(std::string_view chunk) override { bytes += static_cast<int>(chunk.size()); }
  void on_close(std::optional<Error> error) override { error ? ++failed : ++ended; }
  std::atomic<int> opened = 0, bytes = 0, ended = 0, failed = 0;
};

// Watches and other requests, all at once; true when each had its own answer.
bool ask_all_at_once(Client& client, int watches, int lists) {
  const auto counts = std::make_shared<Counts>();  // outlives what goes wrong
  const auto ask = [&](const std::string& target, Lane lane) {
    client.send({.target = target, .timeout = 60s, .lane = lane}, [=](const Result<Response>& answer) {
      answer && answer->body == target ? ++counts->ended : ++counts->failed;
    });
  };
  for (int i = 0; i < watches; ++i) {
    ask("/watch/" + std::to_string(i), Lane::kWatch);
  }
  for (int i = 0; i < lists; ++i) {
    ask("/list/" + std::to_string(i), Lane::kList);
  }
  return eventually([&] { return counts->failed > 0 || counts->ended == watches + lists; }) && counts->failed == 0;
}

constexpr int kOwnWatches = 40, kOwnLists = 20;

TEST_CASE("with HTTP/1.1 over TLS no request waits for another's answer, from the first ones on") {
  const HttpServer server(all_together(kOwnWatches + kOwnLists), identity());
  const auto client = make(trusting(server.url()));
  CHECK(ask_all_at_once(*client, kOwnWatches, kOwnLists));
  CHECK(ask_all_at_once(*client, kOwnWatches, kOwnLists));
}

// An HTTP/1.1 request over `ssl` is read, answered, and the connection closed.
void answer_http1(SSL* ssl) {
  std::string text;
  char c = 0;
  while (!text.ends_with("\r\n\r\n") && SSL_read(ssl, &c, 1) == 1) {
    text.push_back(c);
  }
  const std::string_view answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
  SSL_write(ssl, answer.data(), static_cast<int>(answer.size()));
}

TEST_CASE("with HTTP/1.1 over TLS no connection waits for another's handshake") {
  const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(H2Server::make_context(identity(), "http/1.1"),
                                                                  SSL_CTX_free);
  std::atomic<int> accepted = 0;
  const auto all_are_there = [&] { return eventually([&] { return accepted >= kOwnWatches; }); };
  // The first tells what the server speaks, and stays: without any connection libcurl would not know it any more. The
  // others shake hands when all are there.
  const Loopback server([&](int fd, int number) {
    ++accepted;
    if (number > 0 && !all_are_there()) {
      return;
    }
    const std::unique_ptr<SSL, decltype(&SSL_free)> ssl(SSL_new(context.get()), SSL_free);
    SSL_set_fd(ssl.get(), fd);
    if (SSL_accept(ssl.get()) == 1 && all_are_there()) {
      answer_http1(ssl.get());
    }
    ERR_clear_error();
  });
  const auto client = make(trusting("https://" + server.address()));
  const auto counts = std::make_shared<Counts>();
  for (int i = 0; i < kOwnWatches; ++i) {
    client->send({.target = "/", .timeout = 60s, .lane = Lane::kWatch}, [counts](const Result<Response>& answer) {
      answer && answer->body == "ok" ? ++counts->ended : ++counts->failed;
    });
  }
  CHECK(eventually([&] { return counts->ended + counts->failed == kOwnWatches; }));
  CHECK(counts->failed == 0);
}

TEST_CASE("a server that speaks HTTP/2 in place of one that spoke HTTP/1.1 is spoken to in HTTP/2, and back") {
  const HttpServer old(ok, identity());
  H2Server next(identity(),
                [](H2Server::Connection& connection, std::uint32_t stream) { connection.answer(stream, "h2"); });
  std::atomic<int> port = old.port();
  Loopback front([&](int fd, int) {
    const int to = testing::connect_loopback(static_cast<std::uint16_t>(port));
    testing::relay(fd, to);
    close(to);
  });
  const auto client = make(trusting("https://" + front.address()));
  const auto ask = [&] {
    const auto answer = call(*client, {.target = "/", .timeout = 60s});
    return answer ? answer->body : "";
  };
  const auto cut = [&] {  // with a request under way, else the connection is just made anew
    front.cut();
    REQUIRE(eventually([&] { return !ask().empty(); }));
  };
  const std::string http1 = "ok " + front.address();
  CHECK(ask() == http1);
  for (int i = 0; i < 2; ++i) {
    port = next.port();
    cut();
    CHECK(eventually([&] { return ask() == "h2"; }));
    port = old.port();
    cut();
    CHECK(ask() == http1);
  }
}

TEST_CASE(
    "behind one address, a server of HTTP/2 that goes away and one of HTTP/1.1: each request has its own answer") {
  const HttpServer http1(all_together(kOwnWatches), identity());
  std::promise<std::pair<H2Server::Connection*, std::uint32_t>> asked;
  H2Server http2(identity(), [&](H2Server::Connection& connection, std::uint32_t stream) {
    connection.head(stream);
    asked.set_value({&connection, stream});
  });
  Loopback front([&](int fd, int number) {
    const int to = testing::connect_loopback(number == 0 ? http2.port() : static_cast<std::uint16_t>(http1.port()));
    testing::relay(fd, to);
    close(to);
  });
  const auto client = make(trusting("https://" + front.address()));
  const auto sink = std::make_shared<Counts>();
  std::unique_ptr<Stream> stream;
  client->loop().post(
      [&] { stream = client->open_stream({.target = "/", .timeout = 60s, .lane = Lane::kWatch}, sink); });
  const auto [connection, number] = asked.get_future().get();
  connection->go_away(number);
  connection->data(number, "event");  // comes after it
  REQUIRE(eventually([&] { return sink->bytes == 5; }));
  CHECK(ask_all_at_once(*client, kOwnWatches, 0));
  connection->data(number, "event", true);
  CHECK(eventually([&] { return sink->bytes == 10 && sink->ended == 1; }));
}

// --- HTTP/2
// -----------------------------------------------------------------------------------------------------------

TEST_CASE("requests at a time share an HTTP/2 connection, 80 each") {
  // Nobody is answered before all have come.
  constexpr int kRequests = 200;
  std::mutex mutex;
  std::vector<std::pair<H2Server::Connection*, std::uint32_t>> waiting;
  std::map<int, int> peak;
  H2Server server(identity(), [&](H2Server::Connection& connection, std::uint32_t stream) {
    std::lock_guard lock(mutex);
    waiting.emplace_back(&connection, stream);
    ++peak[connection.number];
    if (waiting.size() == kRequests) {
      for (const auto& [to, number] : waiting) {
        to->answer(number, "ok");
      }
    }
  });
  const auto client = make(trusting(server.url()));
  std::atomic<int> right = 0;
  for (int i = 0; i < kRequests; ++i) {
    client->send({.target = "/", .timeout = 60s, .lane = Lane::kMove},
                 [&](const Result<Response>& answer) { right += answer && answer->body == "ok" ? 1 : 0; });
  }
  CHECK(eventually([&] { return right == kRequests; }));
  CHECK(server.connections() == 3);
  std::lock_guard lock(mutex);
  for (const auto& [number, streams] : peak) {
    CHECK(streams <= 80);
  }
}

// A connection with many moves under way is looked at a few milliseconds apart.
TEST_CASE("each of many moves that follow one another is answered, to the last one") {
  constexpr int kMoves = 1000, kAtOnce = 40;
  H2Server server(identity(),
                  [](H2Server::Connection& connection, std::uint32_t stream) { connection.answer(stream, "ok"); });
  std::atomic<int> sent = 0, right = 0;
  std::function<void()> next;
  const auto client = make(trusting(server.url()));  // its end, before theirs, is that of its callbacks
  next = [&] {
    if (sent++ < kMoves) {
      client->send({.method = Method::kPatch, .target = "/", .body = "{}", .timeout = 60s, .lane = Lane::kMove},
                   [&](const Result<Response>& answer) {
                     right += answer && answer->body == "ok" ? 1 : 0;
                     next();
                   });
    }
  };
  for (int i = 0; i < kAtOnce; ++i) {
    next();
  }
  CHECK(eventually([&] { return right == kMoves; }));
  CHECK(server.connections() == 1);
}

TEST_CASE("a connection that ends with many moves under way fails them all, and the next move gets a new one") {
  constexpr int kMoves = 40;
  std::atomic<int> asked = 0;
  H2Server server(identity(), [&](H2Server::Connection& connection, std::uint32_t stream) {
    if (++asked % 2 == 0 || asked > kMoves) {
      connection.answer(stream, "ok");  // the others wait for ever
    }
  });
  std::atomic<int> answered = 0, lost = 0;
  const auto client = make(trusting(server.url()));
  const auto send = [&] {
    client->send({.method = Method::kPatch, .target = "/", .body = "{}", .timeout = 600s, .lane = Lane::kMove},
                 [&](const Result<Response>& answer) {
                   answered += answer ? 1 : 0;
                   lost += !answer && answer.error().code == ErrorCode::kUnavailable ? 1 : 0;
                 });
  };
  for (int i = 0; i < kMoves; ++i) {
    send();
  }
  REQUIRE(eventually([&] { return answered == kMoves / 2 && asked == kMoves; }));
  server.cut();
  CHECK(eventually([&] { return lost == kMoves / 2; }));
  send();
  CHECK(eventually([&] { return answered == kMoves / 2 + 1; }));
  CHECK(server.connections() == 2);
}

TEST_CASE("watches share connections as well, and go on when one of them ends") {
  std::mutex mutex;
  std::vector<std::pair<H2Server::Connection*, std::uint32_t>> open;
  H2Server server(identity(), [&](H2Server::Connection& connection, std::uint32_t stream) {
    {
      std::lock_guard lock(mutex);
      open.emplace_back(&connection, stream);
    }
    connection.head(stream);
  });
  const auto sink = std::make_shared<Counts>();
  const auto client = make(trusting(server.url()));
  constexpr int kWatches = 100;
  std::vector<std::unique_ptr<Stream>> streams;
  client->loop().post([&] {
    for (int i = 0; i < kWatches; ++i) {
      streams.push_back(client->open_stream({.target = "/", .timeout = 60s, .lane = Lane::kWatch}, sink));
    }
  });
  REQUIRE(eventually([&] { return sink->opened == kWatches; }));
  CHECK(server.connections() == 2);
  const std::lock_guard lock(mutex);              // nobody comes any more
  open[0].first->data(open[0].second, {}, true);  // in order
  open[1].first->reset(open[1].second);           // broken
  REQUIRE(eventually([&] { return sink->ended == 1 && sink->failed == 1; }));
  for (std::size_t i = 2; i < open.size(); ++i) {
    open[i].first->data(open[i].second, "event");
  }
  CHECK(eventually([&] { return sink->bytes == 5 * (kWatches - 2); }));
  server.cut();
  CHECK(eventually([&] { return sink->failed == kWatches - 1; }));
}

TEST_CASE("a connection that fell silent gets no more requests, and a new one works at once") {
  std::atomic<int> silent_connection = 0;
  H2Server server(identity(), [&](H2Server::Connection& connection, std::uint32_t stream) {
    if (connection.number != silent_connection) {
      connection.answer(stream, std::to_string(connection.number));
    }
  });
  const auto client = make(trusting(server.url()));
  const auto first = call(*client, {.target = "/", .timeout = 300ms});
  REQUIRE_FALSE(first);
  CHECK(first.error().code == ErrorCode::kTimeout);
  for (int i = 0; i < 3; ++i) {
    const auto answer = call(*client, {.target = "/"});
    REQUIRE(answer);
    CHECK(answer->body == "1");
  }
  CHECK(server.connections() == 2);
}

TEST_CASE("silence is noticed before the timeout of those that wait") {
  H2Server server(identity(), [&](H2Server::Connection& connection, std::uint32_t stream) {
    if (connection.number > 0) {
      connection.answer(stream, "ok");
    }
  });
  std::atomic<bool> answered = false;  // by the client's end, too
  const auto client = make(trusting(server.url()));
  // Some seconds of silence later, what is sent goes elsewhere; until then it shares the silent connection.
  CHECK(eventually([&] {
    client->send({.target = "/", .timeout = 600s},
                 [&](const Result<Response>& answer) { answered = answered || answer; });
    std::this_thread::sleep_for(50ms);
    return answered.load();
  }));
  CHECK(server.connections() == 2);
}

TEST_CASE("an HTTP/2 answer that is cut off is an error") {
  for (const bool reset : {true, false}) {
    CAPTURE(reset);
    H2Server server(identity(), [&](H2Server::Connection& connection, std::uint32_t stream) {
      connection.head(stream);
      connection.data(stream, "half");
      reset ? connection.reset(stream) : static_cast<void>(shutdown(connection.fd, SHUT_RDWR));
    });
    const auto answer = call(*make(trusting(server.url())), {.target = "/x"});
    REQUIRE_FALSE(answer);
    CHECK(answer.error().code == ErrorCode::kUnavailable);
  }
}

TEST_CASE("a server that goes away in order answers what it has, and gets the next request on a new connection") {
  H2Server server(identity(), [&](H2Server::Connection& connection, std::uint32_t stream) {
    connection.go_away(stream);
    connection.answer(stream, "ok");
  });
  const auto client = make(trusting(server.url()));
  for (int i = 0; i < 5; ++i) {
    CHECK(call(*client, {.target = "/"}));
  }
  CHECK(server.connections() == 5);
}

TEST_CASE("a server that was killed and started again is reached at once") {
  auto server =
      std::make_unique<H2Server>(identity(), [](auto& connection, auto stream) { connection.answer(stream, "1"); });
  const std::uint16_t port = server->port();
  const auto client = make(trusting(server->url()));
  REQUIRE(call(*client, {.target = "/"}));
  server.reset();
  CHECK(message_of(call(*client, {.target = "/"})).ends_with("Connection refused"));
  server = std::make_unique<H2Server>(
      identity(), [](auto& connection, auto stream) { connection.answer(stream, "2"); }, port);
  CHECK(call(*client, {.target = "/"})->body == "2");
}

TEST_CASE("a handshake that hangs is no connection") {
  Loopback server([](int fd, int) { testing::stay_silent(fd); });
  const auto client = make(trusting("https://" + server.address()));
  const auto answer = call(*client, {.target = "/x", .timeout = 200ms});
  REQUIRE_FALSE(answer);
  // libcurl's connect timeout or our deadline, whichever fires first in the same millisecond.
  CHECK((answer.error().code == ErrorCode::kTimeout || answer.error().code == ErrorCode::kUnavailable));
  CHECK(answer.error().message.find("no connection") != std::string::npos);
}

// --- Proxies
// ----------------------------------------------------------------------------------------------------------

// An HTTP proxy that can only CONNECT; `target` is what it was asked for last.
class ConnectProxy {
 public:
  std::string address() const { return proxy_.address(); }
  std::uint16_t port() const { return proxy_.port(); }
  int connections() const { return proxy_.connections(); }
  std::string header() {
    std::lock_guard lock(mutex_);
    return header_;
  }

 private:
  void serve(int fd) {
    const std::string header = testing::read_header(fd);
    {
      std::lock_guard lock(mutex_);
      header_ = header;
    }
    const auto colon = header.find(':');
    const int port = header.starts_with("CONNECT ") ? std::atoi(header.c_str() + colon + 1) : 0;
    const int upstream = port == 0 ? -1 : testing::connect_loopback(static_cast<std::uint16_t>(port));
    if (upstream < 0) {
      testing::write_all(fd, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
      return;
    }
    testing::write_all(fd, "HTTP/1.1 200 Connected\r\nX-Retry: no\r\n\r\n");
    testing::relay(fd, upstream);
    shutdown(upstream, SHUT_RDWR);
    close(upstream);
  }

  std::mutex mutex_;
  std::string header_;
  Loopback proxy_{[this](int fd, int) { serve(fd); }};
};

TEST_CASE("a proxy-url is used, even for a loopback address, and does not see the token") {
  ConnectProxy proxy;
  H2Server server(identity(), [](auto& connection, auto stream) { connection.answer(stream, "ok"); });
  ClusterConfig config = trusting(server.url());
  config.token = "secret";
  config.proxy_url = "http://user:word@" + proxy.address();
  CHECK(call(*make(config), {.target = "/"})->body == "ok");
  CHECK(proxy.header().starts_with("CONNECT 127.0.0.1:" + std::to_string(server.port()) + " "));
  CHECK(proxy.header().find("secret") == std::string::npos);
  CHECK(proxy.header().find("Proxy-Authorization: Basic dXNlcjp3b3Jk") != std::string::npos);
}

TEST_CASE("a proxy that does not connect is an outage, whatever it answers") {
  ConnectProxy proxy;
  ClusterConfig config = trusting("https://127.0.0.1:" + std::to_string(testing::closed_port()));
  config.proxy_url = "http://" + proxy.address();
  const auto answer = call(*make(config), {.target = "/x"});
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == ErrorCode::kUnavailable);
  CHECK(answer.error().message.find("403") != std::string::npos);
  config.proxy_url = "http://127.0.0.1:" + std::to_string(testing::closed_port());
  CHECK(message_of(call(*make(config), {.target = "/x"})) ==
        "GET /x: connect to " + config.proxy_url.substr(7) + " (proxy): Connection refused");
}

TEST_CASE("a proxy that speaks TLS itself is believed when the cluster's authority signed its certificate") {
  ConnectProxy inner;
  // Takes the TLS off and hands on to the proxy behind it.
  const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(H2Server::make_context(identity(), "http/1.1"),
                                                                  SSL_CTX_free);
  Loopback proxy([&](int fd, int) {
    const std::unique_ptr<SSL, decltype(&SSL_free)> ssl(SSL_new(context.get()), SSL_free);
    SSL_set_fd(ssl.get(), fd);
    if (SSL_accept(ssl.get()) == 1) {
      const int behind = testing::connect_loopback(inner.port());
      testing::relay_tls(ssl.get(), behind);
      close(behind);
    }
  });
  H2Server server(identity(), [](auto& connection, auto stream) { connection.answer(stream, "ok"); });
  ClusterConfig config = trusting(server.url());
  config.proxy_url = "https://" + proxy.address();
  const auto answer = call(*make(config), {.target = "/"});
  REQUIRE(answer);
  CHECK(answer->body == "ok");
  const TestCa other;
  config.ca_pem = other.certificate_pem();
  CHECK_FALSE(call(*make(config), {.target = "/"}));
  CHECK(inner.connections() == 1);
}

TEST_CASE("a SOCKS5 proxy gets the name, not an address") {
  H2Server server(identity(), [](auto& connection, auto stream) { connection.answer(stream, "ok"); });
  std::promise<std::string> asked;
  Loopback proxy([&](int fd, int) {
    std::array<char, 512> bytes{};
    REQUIRE(recv(fd, bytes.data(), 2, MSG_WAITALL) == 2);  // RFC 1928: version, number of methods
    REQUIRE(recv(fd, bytes.data(), static_cast<std::size_t>(bytes[1]), MSG_WAITALL) > 0);
    testing::write_all(fd, std::string("\x05\x00", 2));
    REQUIRE(recv(fd, bytes.data(), 5, MSG_WAITALL) == 5);  // version, CONNECT, 0, kind of address, its length
    const std::size_t length = static_cast<unsigned char>(bytes[4]);
    const bool name = bytes[3] == 3;
    REQUIRE(recv(fd, bytes.data(), length + 2, MSG_WAITALL) == static_cast<ssize_t>(length + 2));
    asked.set_value(name ? std::string(bytes.data(), length) : "an address");
    testing::write_all(fd, std::string("\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00", 10));
    const int upstream = testing::connect_loopback(server.port());
    testing::relay(fd, upstream);
    shutdown(upstream, SHUT_RDWR);
    close(upstream);
  });
  ClusterConfig config = trusting("https://localhost:" + std::to_string(server.port()));
  config.proxy_url = "socks5://" + proxy.address();
  CHECK(call(*make(config), {.target = "/"})->body == "ok");
  CHECK(asked.get_future().get() == "localhost");
}

// Sets a variable of the process for the length of a test.
class Variable {
 public:
  Variable(const char* name, const std::string& value) : name_(name) { setenv(name, value.c_str(), 1); }
  ~Variable() { unsetenv(name_); }

 private:
  const char* const name_;
};

TEST_CASE("HTTPS_PROXY is used, but not for loopback addresses and what NO_PROXY names") {
  ConnectProxy proxy;
  const HttpServer server(ok, identity());
  const Variable variable("HTTPS_PROXY", proxy.address());
  CHECK(call(*make(trusting(server.url())), {.target = "/"}));
  CHECK(proxy.connections() == 0);
  // This name is known to nobody: only the proxy could have answered.
  const auto through = call(*make(trusting("https://sharder.invalid:0443")), {.target = "/"});
  CHECK(proxy.connections() == 1);
  CHECK(proxy.header().starts_with("CONNECT sharder.invalid:443 "));
  CHECK_FALSE(through);
  const Variable exception("NO_PROXY", ".invalid:443");
  CHECK(message_of(call(*make(trusting("https://sharder.invalid")), {.target = "/", .timeout = 60s}))
            .ends_with("no address found for this name"));
  CHECK(proxy.connections() == 1);
}

}  // namespace
}  // namespace sharder::kube
