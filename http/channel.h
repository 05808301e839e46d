#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

struct ssl_st;

namespace sharder::http {

enum class IoStatus {
  kDone,       // something was read, or all was written
  kWantRead,   // again when the socket can be read
  kWantWrite,  // again when it can be written
  kClosed,     // the other side sends nothing more
  kNotTls,     // handshake: the client speaks plain HTTP; what is written from now on is plain
  kRefused,    // handshake: the client's certificate is missing or not accepted; the client has been told
  kFailed,
};

struct IoResult {
  IoStatus status = IoStatus::kDone;
  std::size_t bytes = 0;  // read, or written so far
};

struct SslDelete {
  void operator()(ssl_st* session) const;
};
using SslSession = std::unique_ptr<ssl_st, SslDelete>;

// Reads and writes a non-blocking socket, with TLS or without; does not own the socket. OpenSSL reads and writes the
// socket itself, so a record costs one system call, and an idle connection has no buffer. One thread.
class Channel {
 public:
  // `session`: server side, from TlsContext; null for plain.
  Channel(int fd, SslSession session);

  bool is_tls() const { return session_ != nullptr; }
  IoResult handshake();
  // After kRefused: why, in OpenSSL's fixed words.
  std::string_view refusal() const { return refusal_; }
  IoResult read(std::span<char> into);
  // Writes as much as it can. After kWantRead or kWantWrite, go on with the rest (it may be at another address then).
  IoResult write(std::string_view data);
  // True when read() may return bytes although the socket itself has none.
  bool has_buffered_input() const;
  // Ends our side of the connection: close_notify, then FIN.
  void shut_down();
  // Reads some of the input that still comes, undecrypted, and drops it.
  IoResult discard();

 private:
  IoResult tls_result(int returned, std::size_t bytes);

  int fd_;
  SslSession session_;
  std::string_view refusal_;
};

}  // namespace sharder::http
