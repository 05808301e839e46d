#include "http/channel.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace sharder::http {
namespace {

bool would_block(int error) {
  return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

}  // namespace

void SslDelete::operator()(ssl_st* session) const {
  SSL_free(session);
}

Channel::Channel(int fd, SslSession session) : fd_(fd), session_(std::move(session)) {}

IoResult Channel::handshake() {
  const int returned = SSL_do_handshake(session_.get());
  if (returned == 1) {
    return {};
  }
  const auto reason = ERR_GET_REASON(ERR_peek_last_error());
  const IoResult result = tls_result(returned, 0);
  if (result.status == IoStatus::kFailed && (reason == SSL_R_HTTP_REQUEST || reason == SSL_R_HTTPS_PROXY_REQUEST)) {
    session_.reset();
    return {IoStatus::kNotTls, 0};
  }
  if (result.status == IoStatus::kFailed && reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) {
    refusal_ = "it showed no certificate";
    return {IoStatus::kRefused, 0};
  }
  if (result.status == IoStatus::kFailed && reason == SSL_R_CERTIFICATE_VERIFY_FAILED) {
    refusal_ = X509_verify_cert_error_string(SSL_get_verify_result(session_.get()));
    return {IoStatus::kRefused, 0};
  }
  return result;
}

IoResult Channel::read(std::span<char> into) {
  if (session_) {
    std::size_t bytes = 0;
    const int returned = SSL_read_ex(session_.get(), into.data(), into.size(), &bytes);
    return returned == 1 ? IoResult{IoStatus::kDone, bytes} : tls_result(returned, 0);
  }
  const ssize_t received = ::recv(fd_, into.data(), into.size(), 0);
  if (received > 0) {
    return {IoStatus::kDone, static_cast<std::size_t>(received)};
  }
  if (received == 0) {
    return {IoStatus::kClosed, 0};
  }
  return {would_block(errno) ? IoStatus::kWantRead : IoStatus::kFailed, 0};
}

IoResult Channel::write(std::string_view data) {
  std::size_t written = 0;
  while (written < data.size()) {
    const std::string_view rest = data.substr(written);
    if (session_) {
      std::size_t bytes = 0;
      const int returned = SSL_write_ex(session_.get(), rest.data(), rest.size(), &bytes);
      if (returned != 1) {
        return tls_result(returned, written);
      }
      written += bytes;
      continue;
    }
    const ssize_t sent = ::send(fd_, rest.data(), rest.size(), MSG_NOSIGNAL);
    if (sent < 0) {
      return {would_block(errno) ? IoStatus::kWantWrite : IoStatus::kFailed, written};
    }
    written += static_cast<std::size_t>(sent);
  }
  return {IoStatus::kDone, written};
}

IoResult Channel::tls_result(int returned, std::size_t bytes) {
  switch (SSL_get_error(session_.get(), returned)) {
    case SSL_ERROR_WANT_READ:
      return {IoStatus::kWantRead, bytes};
    case SSL_ERROR_WANT_WRITE:
      return {IoStatus::kWantWrite, bytes};
    case SSL_ERROR_ZERO_RETURN:
      return {IoStatus::kClosed, bytes};
    default:
      // The queue of errors belongs to the thread: one that stays there would be taken for the next connection's error.
      ERR_clear_error();
      return {IoStatus::kFailed, bytes};
  }
}

bool Channel::has_buffered_input() const {
  return session_ && SSL_has_pending(session_.get()) == 1;
}

void Channel::shut_down() {
  if (session_ && SSL_is_init_finished(session_.get()) == 1) {
    SSL_shutdown(session_.get());  // best effort: what does not fit into the socket now is not sent
    ERR_clear_error();
  }
  ::shutdown(fd_, SHUT_WR);
}

IoResult Channel::discard() {
  std::array<char, 16'384> bytes;
  constexpr int kReadsAtOnce = 16;
  for (int i = 0; i < kReadsAtOnce; ++i) {
    const ssize_t received = ::recv(fd_, bytes.data(), bytes.size(), 0);
    if (received == 0) {
      return {IoStatus::kClosed, 0};
    }
    if (received < 0) {
      return {would_block(errno) ? IoStatus::kWantRead : IoStatus::kFailed, 0};
    }
  }
  return {IoStatus::kWantRead, 0};
}

}  // namespace sharder::http
