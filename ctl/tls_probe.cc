#include "ctl/tls_probe.h"

#include <netdb.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdint>
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

using std::chrono::steady_clock;

// Waits for `events` of the socket. False: they did not come before the deadline.
bool await(int descriptor, short events, steady_clock::time_point deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - steady_clock::now()).count();
  pollfd wanted{.fd = descriptor, .events = events, .revents = 0};
  return left > 0 && poll(&wanted, 1, static_cast<int>(std::min<std::int64_t>(left, INT_MAX))) == 1;
}

bool is_connected(int descriptor) {
  int error = 0;
  socklen_t size = sizeof error;
  return getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0;
}

// A connected socket that does not block.
std::unique_ptr<Socket> connect_to(const std::string& host, const std::string& port,
                                   steady_clock::time_point deadline) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), port.c_str(), &hints, &found) != 0) {
    return nullptr;
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> addresses(found, freeaddrinfo);
  for (const addrinfo* address = addresses.get(); address != nullptr; address = address->ai_next) {
    auto socket = std::make_unique<Socket>(
        ::socket(address->ai_family, address->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, address->ai_protocol));
    if (socket->get() < 0) {
      continue;
    }
    const bool begun = connect(socket->get(), address->ai_addr, address->ai_addrlen) == 0 || errno == EINPROGRESS;
    if (begun && await(socket->get(), POLLOUT, deadline) && is_connected(socket->get())) {
      return socket;
    }
  }
  return nullptr;
}

// The deadline is that of the whole handshake: a peer that sends a byte now and then does not prolong it.
bool shake_hands(SSL* connection, int descriptor, steady_clock::time_point deadline) {
  for (;;) {
    const int result = SSL_connect(connection);
    const int wanted = SSL_get_error(connection, result);
    const bool goes_on = wanted == SSL_ERROR_WANT_READ || wanted == SSL_ERROR_WANT_WRITE;
    if (!goes_on || !await(descriptor, wanted == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, deadline)) {
      return result == 1;
    }
  }
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
  const auto deadline = steady_clock::now() + timeout;
  const auto socket = connect_to(host, port, deadline);
  if (!socket) {
    return fail(ErrorCode::kUnavailable, where + ": no connection");
  }
  const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(SSL_CTX_new(TLS_client_method()), SSL_CTX_free);
  const std::unique_ptr<SSL, decltype(&SSL_free)> connection(SSL_new(context.get()), SSL_free);
  SSL_set_verify(connection.get(), SSL_VERIFY_NONE, nullptr);
  SSL_set_tlsext_host_name(connection.get(), name.c_str());
  SSL_set_fd(connection.get(), socket->get());
  if (!shake_hands(connection.get(), socket->get(), deadline)) {
    return fail(ErrorCode::kUnavailable, where + ": no TLS");
  }
  std::string chain = chain_of(connection.get());
  return chain.empty() ? fail(ErrorCode::kUnavailable, where + ": shows no certificate") : Result<std::string>(chain);
}

}  // namespace sharder::ctl
