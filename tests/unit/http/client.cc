#include "tests/unit/http/client.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <stdexcept>
#include <utility>

namespace sharder::testing {
namespace {

constexpr int kDeadlineSeconds = 20;

void require(bool ok, const std::string& what) {
  if (!ok) {
    throw std::runtime_error("test client: " + what);
  }
}

int connect_to(std::uint16_t port, const Client::Options& options) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICHOST;
  addrinfo* found = nullptr;
  require(getaddrinfo(options.host.c_str(), std::to_string(port).c_str(), &hints, &found) == 0, "address");
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, freeaddrinfo);
  const int fd = ::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  require(fd >= 0, "socket");
  const timeval deadline{.tv_sec = kDeadlineSeconds, .tv_usec = 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof(deadline));
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &deadline, sizeof(deadline));
  if (options.receive_buffer > 0) {
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &options.receive_buffer, sizeof(options.receive_buffer));
  }
  if (::connect(fd, found->ai_addr, found->ai_addrlen) != 0) {
    const int error = errno;
    ::close(fd);
    throw std::runtime_error("test client: connect: " + std::to_string(error));
  }
  return fd;
}

void use(SSL_CTX* context, const TestCertificate& pair) {
  const detail::BioPtr certificate(BIO_new_mem_buf(pair.certificate_pem.data(), -1));
  const detail::BioPtr key(BIO_new_mem_buf(pair.private_key_pem.data(), -1));
  const detail::CertificatePtr x509(PEM_read_bio_X509(certificate.get(), nullptr, nullptr, nullptr));
  const detail::KeyPtr private_key(PEM_read_bio_PrivateKey(key.get(), nullptr, nullptr, nullptr));
  require(SSL_CTX_use_certificate(context, x509.get()) == 1 && SSL_CTX_use_PrivateKey(context, private_key.get()) == 1,
          "certificate");
}

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

int parse_int(std::string_view text) {
  int number = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  require(error == std::errc() && end == text.data() + text.size(), "no number: " + std::string(text));
  return number;
}

Answer parse_head(std::string_view head) {
  Answer answer;
  auto line_end = head.find("\r\n");
  const std::string_view status_line = head.substr(0, line_end);
  require(status_line.starts_with("HTTP/1.1 ") && status_line.size() > 13 && status_line[12] == ' ',
          "status line: " + std::string(status_line));
  answer.status = parse_int(status_line.substr(9, 3));
  for (head.remove_prefix(line_end + 2); !head.empty(); head.remove_prefix(line_end + 2)) {
    line_end = head.find("\r\n");
    const std::string_view line = head.substr(0, line_end);
    const auto colon = line.find(": ");
    require(colon != std::string_view::npos && colon > 0, "header: " + std::string(line));
    const bool is_new =
        answer.headers.emplace(lower(std::string(line.substr(0, colon))), line.substr(colon + 2)).second;
    require(is_new, "a header twice");
  }
  return answer;
}

}  // namespace

Client::Client(std::uint16_t port, const Options& options) : fd_(connect_to(port, options)) {
  if (options.tls) {
    context_.reset(SSL_CTX_new(TLS_client_method()));
    SSL_CTX_set_options(context_.get(), SSL_OP_IGNORE_UNEXPECTED_EOF);
    if (options.max_tls_version != 0) {
      SSL_CTX_set_min_proto_version(context_.get(), 0);
      SSL_CTX_set_max_proto_version(context_.get(), options.max_tls_version);
      SSL_CTX_set_security_level(context_.get(), 0);
    }
    if (!options.groups.empty()) {
      require(SSL_CTX_set1_groups_list(context_.get(), options.groups.c_str()) == 1, "groups");
    }
    if (!options.certificate.certificate_pem.empty()) {
      use(context_.get(), options.certificate);
    }
    tls_.reset(SSL_new(context_.get()));
    if (!options.alpn.empty()) {
      SSL_set_alpn_protos(tls_.get(), reinterpret_cast<const unsigned char*>(options.alpn.data()),
                          static_cast<unsigned>(options.alpn.size()));
    }
    SSL_set_fd(tls_.get(), fd_);
    SSL_set_connect_state(tls_.get());
  }
}

Client::~Client() {
  tls_.reset();
  if (fd_ >= 0) {
    ::close(fd_);
  }
}

bool Client::shake_hands() {
  ERR_clear_error();
  return SSL_do_handshake(tls_.get()) == 1;
}

bool Client::send(std::string_view bytes) {
  while (!bytes.empty()) {
    std::size_t sent = 0;
    if (tls_) {
      ERR_clear_error();
      if (SSL_write_ex(tls_.get(), bytes.data(), bytes.size(), &sent) != 1) {
        return false;
      }
    } else {
      const ssize_t result = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      require(result >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK), "the server does not read");
      if (result < 0) {
        return false;
      }
      sent = static_cast<std::size_t>(result);
    }
    bytes.remove_prefix(sent);
  }
  return true;
}

bool Client::read_more() {
  std::array<char, 64 * 1024> bytes;
  if (tls_) {
    ERR_clear_error();
    std::size_t received = 0;
    const int result = SSL_read_ex(tls_.get(), bytes.data(), bytes.size(), &received);
    require(result == 1 || SSL_get_error(tls_.get(), result) != SSL_ERROR_WANT_READ, "no answer in time");
    in_.append(bytes.data(), received);
    return result == 1;
  }
  const ssize_t received = ::recv(fd_, bytes.data(), bytes.size(), 0);
  require(received >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK), "no answer in time");
  if (received <= 0) {
    return false;
  }
  in_.append(bytes.data(), static_cast<std::size_t>(received));
  return true;
}

std::optional<Answer> Client::read_answer(bool to_head) {
  std::size_t end;
  while ((end = in_.find("\r\n\r\n")) == std::string::npos) {
    if (!read_more()) {
      require(in_.empty(), "the answer's head is cut");
      return std::nullopt;
    }
  }
  Answer answer = parse_head(std::string_view(in_).substr(0, end + 2));
  in_.erase(0, end + 4);
  if (answer.status >= 200 && answer.status != 204 && answer.status != 304 && !to_head) {
    const auto size = static_cast<std::size_t>(parse_int(answer.header("content-length")));
    while (in_.size() < size) {
      require(read_more(), "the answer's body is cut");
    }
    answer.body = in_.substr(0, size);
    in_.erase(0, size);
  }
  return answer;
}

bool Client::is_closed() {
  return in_.empty() && !read_more();
}

void Client::read_to_end() {
  while (read_more()) {
    in_.clear();
  }
}

void Client::half_close() {
  if (tls_) {
    SSL_shutdown(tls_.get());
  }
  ::shutdown(fd_, SHUT_WR);
}

void Client::reset() {
  const linger at_once{.l_onoff = 1, .l_linger = 0};
  setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
  ::close(std::exchange(fd_, -1));
}

std::string post(std::string_view body, std::string_view extra_headers, std::string_view path) {
  return "POST " + std::string(path) + " HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\n" + std::string(extra_headers) + "\r\n" + std::string(body);
}

}  // namespace sharder::testing
