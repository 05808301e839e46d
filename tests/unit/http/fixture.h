#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "base/guarded.h"
#include "base/tls_identity.h"
#include "http/server.h"
#include "tests/support/test_certificate.h"

namespace sharder::testing {

// Replies that a handler leaves to the test's thread.
class ReplyBox {
 public:
  void put(http::Reply reply) {
    {
      const std::lock_guard lock(mutex_);
      replies_.push_back(std::move(reply));
    }
    changed_.notify_all();
  }
  // The oldest; waits for it, up to 20 s, then throws.
  http::Reply take() {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, std::chrono::seconds(20), [this] { return !replies_.empty(); })) {
      throw std::runtime_error("no request came");
    }
    http::Reply reply = std::move(replies_.front());
    replies_.pop_front();
    return reply;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<http::Reply> replies_;
};

// What the tests ask for, by path.
class TestHandler final : public http::Handler {
 public:
  explicit TestHandler(ReplyBox& later) : later_(later) {}

  void handle(const http::Request& request, http::Reply reply) override {
    if (request.path == "/host") {
      reply({.body = std::string(request.host)});
    } else if (request.path == "/echo") {
      const std::string body(request.body);
      reply({.content_type = std::string(request.content_type), .body = body});
      if (body != request.body) {  // the request lives on, whatever became of the connection
        throw std::runtime_error("the request changed");
      }
    } else if (request.path == "/later") {
      later_.put(std::move(reply));
    } else if (request.path == "/throw") {
      throw std::runtime_error("on purpose");
    } else if (request.path == "/throw-int") {
      throw 1;
    } else if (request.path == "/drop") {
      // `reply` goes unused
    } else if (request.path == "/big") {
      reply({.body = std::string(8 * 1024 * 1024, 'b')});
    } else if (request.path == "/split-header") {
      reply({.body = "x", .headers = {{"X-Bad", "a\r\nX-Injected: 1"}}});
    } else if (request.path == "/nothing") {
      reply({.status = 204, .headers = {{"X-Extra", "yes"}}});
    } else {
      reply({.body = std::string(request.method) + " " + std::string(request.path) + " " + std::string(request.query) +
                     " " + std::string(request.content_type) + " " + std::string(request.authorization)});
    }
  }

 private:
  ReplyBox& later_;
};

inline const TestCa& test_ca() {
  static const TestCa kCa;
  return kCa;
}

inline std::shared_ptr<const TlsIdentity> make_identity(const TestCertificateOptions& options = {}) {
  const TestCertificate certificate = test_ca().issue(options);
  return std::make_shared<const TlsIdentity>(TlsIdentity{.certificate_chain_pem = certificate.certificate_pem,
                                                         .private_key_pem = certificate.private_key_pem,
                                                         .not_after = {}});
}

// A server on a free loopback port.
struct TestServer {
  explicit TestServer(http::ServerOptions options = {}, bool tls = false) {
    options.name = "test";
    if (options.address.empty()) {
      options.address = "127.0.0.1:0";
    }
    if (tls) {
      identity.publish(make_identity());
      options.tls = &identity;
    }
    server = std::make_unique<http::Server>(
        std::move(options), [this](unsigned) { return std::make_unique<TestHandler>(later); },
        Logger::to_string(log_lines));
    if (auto started = server->start(); !started) {
      throw std::runtime_error(started.error().message);
    }
    port = server->port();
  }
  ~TestServer() { server.reset(); }

  // Only once the server is gone: its threads write to the lines.
  const std::string& log() {
    server.reset();
    return *log_lines;
  }

  Published<TlsIdentity> identity;
  ReplyBox later;
  std::shared_ptr<std::string> log_lines = std::make_shared<std::string>();
  std::unique_ptr<http::Server> server;
  std::uint16_t port = 0;
};

// Waits up to 20 s until `condition` holds.
inline bool eventually(const std::function<bool()>& condition) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) {
      return false;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

}  // namespace sharder::testing
