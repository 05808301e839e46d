#include <doctest/doctest.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <prometheus/counter.h>
#include <prometheus/registry.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <map>
#include <memory>
#include <string>

#include "base/task_loop.h"
#include "certs/certificate_files.h"
#include "http/server.h"
#include "ops/health_handler.h"
#include "ops/metrics_handler.h"
#include "tests/support/eventually.h"
#include "tests/support/fake_api.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_certificate.h"

// protocol, 7: the metrics and the health port, over real sockets.
namespace {

using namespace sharder;
using namespace sharder::ops;
using sharder::testing::TestCa;
using sharder::testing::TestCertificate;

// An API server that knows the token "good", and lets it get /metrics and nothing else. Answers on its own thread.
class AnsweringApi final : public kube::Api {
 public:
  void send(kube::Request request, Callback callback) override {
    loop_.post([this, request = std::move(request), callback = std::move(callback)]() mutable {
      ++requests;
      const bool is_token_review = request.target.ends_with("tokenreviews");
      const bool yes = request.body.find(is_token_review ? "\"good\"" : "\"path\":\"/metrics\"") != std::string::npos;
      const std::string field = is_token_review ? "authenticated" : "allowed";
      callback(kube::Response{.status = 201, .body = R"({"status":{")" + field + "\":" + (yes ? "true}}" : "false}}")});
    });
  }
  std::unique_ptr<kube::Stream> open_stream(kube::Request, std::shared_ptr<kube::StreamSink>) override {
    return nullptr;
  }
  Executor& loop() override { return loop_; }

  std::atomic<int> requests = 0;

 private:
  TaskLoop loop_{"api", Logger::none()};
};

// One request over a connection of its own, TLS without verification like Prometheus' insecure_skip_verify.
struct Answer {
  int status = 0;
  std::string text;         // header and body
  std::string certificate;  // PEM of what the server showed, "" without TLS
};

Answer get(std::uint16_t port, bool tls, const std::string& path, const std::string& token = "") {
  namespace detail = sharder::testing::detail;
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const timeval deadline{.tv_sec = 60, .tv_usec = 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof(deadline));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
  std::string request = "GET " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
  request += token.empty() ? "\r\n" : "Authorization: Bearer " + token + "\r\n\r\n";
  Answer answer;
  std::array<char, 4096> chunk;
  if (tls) {
    const std::unique_ptr<SSL_CTX, sharder::DeleteWith<SSL_CTX_free>> context(SSL_CTX_new(TLS_client_method()));
    const std::unique_ptr<SSL, sharder::DeleteWith<SSL_free>> ssl(SSL_new(context.get()));
    SSL_set_fd(ssl.get(), fd);
    REQUIRE(SSL_connect(ssl.get()) == 1);
    const detail::CertificatePtr shown(SSL_get1_peer_certificate(ssl.get()));
    answer.certificate = detail::certificate_pem(shown.get());
    REQUIRE(SSL_write(ssl.get(), request.data(), static_cast<int>(request.size())) > 0);
    for (int count; (count = SSL_read(ssl.get(), chunk.data(), chunk.size())) > 0;) {
      answer.text.append(chunk.data(), static_cast<std::size_t>(count));
    }
  } else {
    REQUIRE(write(fd, request.data(), request.size()) == static_cast<ssize_t>(request.size()));
    for (ssize_t count; (count = read(fd, chunk.data(), chunk.size())) > 0;) {
      answer.text.append(chunk.data(), static_cast<std::size_t>(count));
    }
  }
  close(fd);
  REQUIRE(answer.text.starts_with("HTTP/1.1 "));
  answer.status = std::stoi(answer.text.substr(9, 3));
  return answer;
}

TEST_CASE("the metrics port serves allowed callers over TLS, with each new certificate at once") {
  const SystemClock clock;
  const TestCa ca;
  const sharder::testing::TempFolder folder;
  const auto put = [&](const TestCertificate& pair) {
    folder.write("tls.key", pair.private_key_pem);
    folder.write("tls.crt", pair.certificate_pem);
  };
  TestCertificate pair = ca.issue();
  put(pair);

  const auto registry = std::make_shared<prometheus::Registry>();
  TaskLoop worker("metrics", Logger::none());
  AnsweringApi api;
  AccessReviewer reviewer(api, clock, {}, Logger::none());
  certs::CertificateFiles files({.server = "metrics", .folder = folder.path()}, clock, *registry, Logger::none());
  REQUIRE(files.start());
  http::Server server(
      {.name = "metrics", .address = "127.0.0.1:0", .tls = &files.identity()},
      [&](unsigned) { return std::make_unique<MetricsHandler>(&reviewer, MetricSources{registry}, worker); },
      Logger::none());
  REQUIRE(server.start());

  const Answer metrics = get(server.port(), true, "/metrics", "good");
  CHECK(metrics.status == 200);
  CHECK(metrics.text.find("controller_sharding_certificate_expiry_timestamp_seconds{server=\"metrics\"} ") !=
        std::string::npos);
  CHECK(metrics.certificate == pair.certificate_pem);
  CHECK(get(server.port(), true, "/metrics").status == 401);
  CHECK(get(server.port(), true, "/metrics", "bad").status == 401);
  CHECK(get(server.port(), true, "/debug/pprof/heap", "good").status == 403);
  CHECK(get(server.port(), true, "/other", "good").status == 404);

  const int requests = api.requests;
  for (int i = 0; i < 5; ++i) {
    pair = ca.issue();
    put(pair);
    REQUIRE(sharder::testing::eventually(
        [&] { return files.identity().get()->certificate_chain_pem == pair.certificate_pem; }));
    const Answer again = get(server.port(), true, "/metrics", "good");
    CHECK(again.status == 200);
    CHECK(again.certificate == pair.certificate_pem);
  }
  CHECK(api.requests == requests);  // the decision was remembered
}

TEST_CASE("the health port is for everybody") {
  std::atomic<bool> ready = false;
  http::Server server(
      {.name = "health", .address = "127.0.0.1:0"},
      [&](unsigned) {
        return std::make_unique<HealthHandler>(
            [&] { return ready ? std::nullopt : std::optional<std::string>("leases: not synced"); });
      },
      Logger::none());
  REQUIRE(server.start());
  CHECK(get(server.port(), false, "/healthz").status == 200);
  const Answer not_ready = get(server.port(), false, "/readyz");
  CHECK(not_ready.status == 503);
  CHECK(not_ready.text.ends_with("not ready: leases: not synced\n"));
  ready = true;
  CHECK(get(server.port(), false, "/readyz").status == 200);
}

}  // namespace
