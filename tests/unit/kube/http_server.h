#pragma once

#include <httplib.h>

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "tests/support/temp_folder.h"
#include "tests/support/test_certificate.h"

namespace sharder::testing {

// An HTTP/1.1 server on 127.0.0.1, with or without TLS: one handler answers whatever comes.
class HttpServer {
 public:
  using Handler = std::function<void(const httplib::Request&, httplib::Response&)>;

  explicit HttpServer(Handler handler) : server_(std::make_unique<httplib::Server>()), scheme_("http") {
    start(std::move(handler));
  }
  // TLS; with `client_ca_pem` only for clients that show a certificate of that CA.
  HttpServer(Handler handler, const TestCertificate& identity, const std::string& client_ca_pem = {})
      : scheme_("https") {
    const auto certificate = folder_.write("tls.crt", identity.certificate_pem);
    const auto key = folder_.write("tls.key", identity.private_key_pem);
    const auto ca = folder_.write("ca.crt", client_ca_pem);
    server_ = std::make_unique<httplib::SSLServer>(certificate.c_str(), key.c_str(),
                                                   client_ca_pem.empty() ? nullptr : ca.c_str());
    start(std::move(handler));
  }
  ~HttpServer() { stop(); }
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  int port() const { return port_; }
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  std::string url() const { return scheme_ + "://" + address(); }

  void stop() {
    if (thread_.joinable()) {
      server_->stop();
      thread_.join();
    }
  }

 private:
  void start(Handler handler) {
    server_->new_task_queue = [] { return new httplib::ThreadPool(80); };
    server_->set_tcp_nodelay(true);
    server_->set_keep_alive_timeout(1);  // stop() waits for idle connections
    server_->Get(".*", handler);
    server_->Post(".*", handler);
    server_->Put(".*", handler);
    server_->Patch(".*", handler);
    server_->Delete(".*", std::move(handler));
    port_ = server_->bind_to_any_port("127.0.0.1");
    thread_ = std::jthread([this] { server_->listen_after_bind(); });
    while (!server_->is_running()) {  // else stop() would do nothing
      std::this_thread::yield();
    }
  }

  TempFolder folder_;
  std::unique_ptr<httplib::Server> server_;
  std::string scheme_;
  int port_ = 0;
  std::jthread thread_;
};

}  // namespace sharder::testing
