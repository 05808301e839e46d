#include "tests/apiserver/http_port.h"

#include <httplib.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <stdexcept>
#include <thread>
#include <utility>

#include "tests/apiserver/connection_pool.h"
#include "tests/support/test_certificate.h"

namespace sharder::apiserver {

namespace {

constexpr std::size_t kMostConnections = 4096;
constexpr int kBacklog = 1024;
constexpr std::size_t kLargestBody = 3 * 1024 * 1024;
constexpr auto kFrozenCheck = std::chrono::milliseconds(20);
// Not the exact name of a compressible type: cpp-httplib would compress, and hold events of a watch back.
constexpr const char* kJson = "application/json; charset=utf-8";

class SslServer final : public httplib::SSLServer {
 public:
  using httplib::SSLServer::SSLServer;
  // The library listens with a backlog of 5.
  void widen_backlog() { ::listen(svr_sock_, kBacklog); }
};

// The library owns its queue and deletes it; the threads are ours.
class Queue final : public httplib::TaskQueue {
 public:
  explicit Queue(ConnectionPool& pool) : pool_(pool) {}
  // What it returns differs between the versions of the library: void in Debian 12, bool ("taken") in Debian 13.
  using Enqueued = decltype(std::declval<TaskQueue&>().enqueue({}));
  Enqueued enqueue(std::function<void()> connection) override {
    pool_.run(std::move(connection));
    return static_cast<Enqueued>(true);
  }
  void shutdown() override { pool_.join(); }

 private:
  ConnectionPool& pool_;
};

testing::detail::BioPtr bio_of(const std::string& pem) {
  return testing::detail::BioPtr(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
}

bool set_up(SSL_CTX& context, const HttpPort::Tls& tls) {
  const testing::detail::CertificatePtr certificate(
      PEM_read_bio_X509(bio_of(tls.certificate_pem).get(), nullptr, nullptr, nullptr));
  const testing::detail::KeyPtr key(
      PEM_read_bio_PrivateKey(bio_of(tls.private_key_pem).get(), nullptr, nullptr, nullptr));
  const testing::detail::CertificatePtr authority(
      PEM_read_bio_X509(bio_of(tls.client_ca_pem).get(), nullptr, nullptr, nullptr));
  if (!certificate || !key || !authority) {
    return false;
  }
  SSL_CTX_set_min_proto_version(&context, TLS1_2_VERSION);
  // A client may show a certificate; a wrong one is refused.
  SSL_CTX_set_verify(&context, SSL_VERIFY_PEER, nullptr);
  static constexpr std::array<unsigned char, 8> kSessions{'s', 'h', 'a', 'r', 'd', 'e', 'r', 0};
  SSL_CTX_set_session_id_context(&context, kSessions.data(), kSessions.size());
  return SSL_CTX_use_certificate(&context, certificate.get()) == 1 &&
         SSL_CTX_use_PrivateKey(&context, key.get()) == 1 &&
         X509_STORE_add_cert(SSL_CTX_get_cert_store(&context), authority.get()) == 1;
}

Caller caller_of(const httplib::Request& wire) {
  Caller caller;
  constexpr std::string_view kBearer = "Bearer ";
  if (const std::string header = wire.get_header_value("Authorization"); header.starts_with(kBearer)) {
    caller.bearer_token = header.substr(kBearer.size());
  }
  if (const testing::detail::CertificatePtr shown(SSL_get1_peer_certificate(wire.ssl)); shown) {
    std::array<char, 256> name{};
    X509_NAME_get_text_by_NID(X509_get_subject_name(shown.get()), NID_commonName, name.data(), name.size());
    caller.certificate_name = name.data();
  }
  return caller;
}

Request request_of(const httplib::Request& wire) {
  return {.method = wire.method,
          .target = wire.target,
          .path = wire.path,
          .query = {wire.params.begin(), wire.params.end()},
          .body = wire.body,
          .content_type = wire.get_header_value("Content-Type"),
          .accept = wire.get_header_value("Accept"),
          .user_agent = wire.get_header_value("User-Agent")};
}

void cut_connection() {
  ::shutdown(ConnectionPool::current_socket(), SHUT_RDWR);
}

bool client_has_left() {
  pollfd entry{.fd = ConnectionPool::current_socket(), .events = POLLRDHUP, .revents = 0};
  return ::poll(&entry, 1, 0) > 0 && (entry.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

// The events of a step: at once, or one by one where a fault wants it. Only JSON has an event a line.
bool send_events(const Reply& reply, const std::string& data, httplib::DataSink& sink) {
  const std::chrono::milliseconds pause = reply.pause ? reply.pause() : std::chrono::milliseconds(0);
  if (pause <= std::chrono::milliseconds(0) || reply.answer.content_type != "application/json") {
    return sink.write(data.data(), data.size());
  }
  for (std::size_t from = 0; from < data.size();) {
    const std::size_t to = std::min(data.find('\n', from), data.size() - 1) + 1;
    if (client_has_left() || !sink.write(data.data() + from, to - from)) {
      return false;
    }
    from = to;
    std::this_thread::sleep_for(pause);
  }
  return true;
}

// One step of a watch, after which the library asks again. False: the connection is to be closed.
bool pump(const Reply& reply, httplib::DataSink& sink) {
  const WatchStream::Step step = reply.answer.watch->next();
  while (reply.frozen && reply.frozen()) {
    if (client_has_left()) {
      return false;
    }
    std::this_thread::sleep_for(kFrozenCheck);
  }
  if (!step.data.empty() && !send_events(reply, step.data, sink)) {
    return false;
  }
  if (step.state == WatchStream::State::kCut || (!step.data.empty() && reply.cut == Fault::Cut::kMiddle)) {
    cut_connection();
    return false;
  }
  if (step.state == WatchStream::State::kEnded) {
    sink.done();
    return true;
  }
  return !client_has_left();
}

void send(std::shared_ptr<const Reply> reply, httplib::Response& wire) {
  const Answer& answer = reply->answer;
  wire.status = answer.code;
  const bool is_json = answer.content_type == "application/json";
  const std::string type = is_json ? kJson : answer.content_type;
  if (answer.retry_after_seconds) {
    wire.set_header("Retry-After", std::to_string(*answer.retry_after_seconds));
  }
  if (reply->cut == Fault::Cut::kBefore || reply->cut == Fault::Cut::kAfter) {
    cut_connection();
    wire.set_header("Connection", "close");
    return;
  }
  if (answer.watch) {
    wire.set_chunked_content_provider(
        type, [reply](std::size_t, httplib::DataSink& sink) { return pump(*reply, sink); },
        [reply](bool) {
          if (reply->finished) {
            reply->finished();
          }
        });
  } else if (reply->cut == Fault::Cut::kMiddle) {
    wire.set_content_provider(answer.body.size(), type, [reply](std::size_t, std::size_t, httplib::DataSink& sink) {
      const std::string& body = reply->answer.body;
      sink.write(body.data(), body.size() / 2);
      cut_connection();
      return false;
    });
  } else {
    wire.set_content(answer.body, type);
  }
}

}  // namespace

struct HttpPort::Impl {
  Impl(const Tls& tls, Handler handler_to_call)
      : pool(kMostConnections),
        handler(std::move(handler_to_call)),
        server([&](SSL_CTX& context) { return set_up(context, tls); }) {}

  static void on_handshake(const SSL* connection, int where, int) {
    if ((where & SSL_CB_HANDSHAKE_START) != 0) {
      const SSL_CTX* context = SSL_get_SSL_CTX(connection);
      static_cast<ConnectionPool*>(SSL_CTX_get_app_data(context))->set_current_socket(SSL_get_fd(connection));
    }
  }

  ConnectionPool pool;
  Handler handler;
  SslServer server;
  int port = 0;
  std::thread listener;
};

HttpPort::HttpPort(const Tls& tls, int port, Handler handler) : impl_(std::make_unique<Impl>(tls, std::move(handler))) {
  SslServer& server = impl_->server;
  if (!server.is_valid()) {
    throw std::runtime_error("the certificate of the API server cannot be used");
  }
  SSL_CTX_set_app_data(server.ssl_context(), &impl_->pool);
  SSL_CTX_set_info_callback(server.ssl_context(), &Impl::on_handshake);
  server.new_task_queue = [this] { return new Queue(impl_->pool); };
  server.set_tcp_nodelay(true);
  server.set_keep_alive_max_count(1'000'000'000);
  server.set_keep_alive_timeout(90);
  server.set_read_timeout(30);
  server.set_write_timeout(30);
  server.set_payload_max_length(kLargestBody);
  const auto handle = [this](const httplib::Request& wire, httplib::Response& answer) {
    send(std::make_shared<Reply>(impl_->handler(request_of(wire), caller_of(wire))), answer);
  };
  server.Get(".*", handle);
  server.Post(".*", handle);
  server.Put(".*", handle);
  server.Patch(".*", handle);
  server.Delete(".*", handle);
  server.set_exception_handler(
      [](const httplib::Request&, httplib::Response& answer, const std::exception_ptr& thrown) {
        std::string why = "unknown exception";
        try {
          std::rethrow_exception(thrown);
        } catch (const std::exception& error) {
          why = error.what();
        } catch (...) {
        }
        answer.status = 500;
        answer.set_content(failure(500, "Internal error occurred: " + why).to_json().dump(), kJson);
      });
  const std::string host = "127.0.0.1";
  impl_->port = port == 0 ? server.bind_to_any_port(host) : server.bind_to_port(host, port) ? port : -1;
  if (impl_->port <= 0) {
    throw std::runtime_error("cannot listen on 127.0.0.1:" + std::to_string(port));
  }
  server.widen_backlog();
  impl_->listener = std::thread([this] { impl_->server.listen_after_bind(); });
  while (!server.is_running()) {  // else stop() would do nothing
    std::this_thread::yield();
  }
}

HttpPort::~HttpPort() {
  stop();
}

int HttpPort::port() const {
  return impl_->port;
}

void HttpPort::stop() {
  if (impl_->listener.joinable()) {
    impl_->server.stop();
    impl_->pool.close_all();
    impl_->listener.join();
  }
}

}  // namespace sharder::apiserver
