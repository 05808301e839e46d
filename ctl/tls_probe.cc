#include "ctl/tls_probe.h"

#include <netdb.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <memory>

namespace sharder::ctl {

namespace {

class Socket {
 public:
  explicit Socket(int descriptor) : descriptor_(descriptor) {}
  ~Socket() {
    if (descriptor_ >= 0) {
      close(descriptor_);
    }
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  int get() const { return descriptor_; }

 private:
  int descriptor_;
};

// A connected socket whose operations, this one too, take at most the timeout.
std::unique_ptr<Socket> connect_to(const std::string& host, const std::string& port,
                                   std::chrono::milliseconds timeout) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), port.c_str(), &hints, &found) != 0) {
    return nullptr;
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> addresses(found, freeaddrinfo);
  const auto seconds = std::chrono::floor<std::chrono::seconds>(timeout);
  const timeval limit{.tv_sec = seconds.count(), .tv_usec = std::chrono::microseconds(timeout - seconds).count()};
  for (const addrinfo* address = addresses.get(); address != nullptr; address = address->ai_next) {
    auto socket = std::make_unique<Socket>(
        ::socket(address->ai_family, address->ai_socktype | SOCK_CLOEXEC, address->ai_protocol));
    if (socket->get() >= 0 && setsockopt(socket->get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) == 0 &&
        setsockopt(socket->get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0 &&
        connect(socket->get(), address->ai_addr, address->ai_addrlen) == 0) {
      return socket;
    }
  }
  return nullptr;
}

std::string chain_of(SSL* connection) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> memory(BIO_new(BIO_s_mem()), BIO_free);
  const STACK_OF(X509)* const chain = SSL_get_peer_cert_chain(connection);
  for (int at = 0; chain != nullptr && at < sk_X509_num(chain); ++at) {
    PEM_write_bio_X509(memory.get(), sk_X509_value(chain, at));
  }
  char* data = nullptr;
  const long size = BIO_get_mem_data(memory.get(), &data);
  return {data, static_cast<std::size_t>(size)};
}

}  // namespace

Result<std::string> served_chain(const std::string& host, const std::string& port, const std::string& name,
                                 std::chrono::milliseconds timeout) {
  const std::string where = host + ":" + port;
  const auto socket = connect_to(host, port, timeout);
  if (!socket) {
    return fail(ErrorCode::kUnavailable, where + ": no connection");
  }
  const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(SSL_CTX_new(TLS_client_method()), SSL_CTX_free);
  const std::unique_ptr<SSL, decltype(&SSL_free)> connection(SSL_new(context.get()), SSL_free);
  SSL_set_verify(connection.get(), SSL_VERIFY_NONE, nullptr);
  SSL_set_tlsext_host_name(connection.get(), name.c_str());
  SSL_set_fd(connection.get(), socket->get());
  if (SSL_connect(connection.get()) != 1) {
    return fail(ErrorCode::kUnavailable, where + ": no TLS");
  }
  std::string chain = chain_of(connection.get());
  return chain.empty() ? fail(ErrorCode::kUnavailable, where + ": shows no certificate") : Result<std::string>(chain);
}

}  // namespace sharder::ctl
