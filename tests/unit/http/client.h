#pragma once

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "tests/support/test_certificate.h"

namespace sharder::testing {

// An answer, taken apart strictly: what is malformed is an exception.
struct Answer {
  int status = 0;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;

  std::string header(const std::string& name) const {
    const auto found = headers.find(name);
    return found == headers.end() ? "" : found->second;
  }
};

// A client that sends whatever bytes a test wants. Every wait ends after 20 s with an exception. One thread.
class Client {
 public:
  struct Options {
    bool tls = false;
    int max_tls_version = 0;  // 0: whatever OpenSSL has
    std::string alpn = {};    // wire format, "\x08http/1.1"
    int receive_buffer = 0;   // bytes, 0: the system's
    std::string host = "127.0.0.1";
    std::string groups = {};           // for the key exchange, "": whatever OpenSSL has
    TestCertificate certificate = {};  // that the client shows; empty: none
  };

  explicit Client(std::uint16_t port) : Client(port, Options()) {}
  Client(std::uint16_t port, const Options& options);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // The handshake; false when the server refuses.
  [[nodiscard]] bool shake_hands();
  // False when the server has gone.
  bool send(std::string_view bytes);
  // The next answer; nullopt when the connection ends (or is reset) before one begins.
  std::optional<Answer> read_answer(bool to_head = false);
  // send() and read_answer().
  std::optional<Answer> ask(std::string_view bytes) {
    send(bytes);
    return read_answer();
  }
  // True when the server closes, without another byte, within the deadline.
  bool is_closed();
  // Waits for the end and drops what comes before it.
  void read_to_end();
  void half_close();
  // Closes at once: the server gets a reset.
  void reset();

  SSL* tls() { return tls_.get(); }
  int fd() const { return fd_; }

 private:
  // Appends to in_; false at the end.
  bool read_more();

  struct Delete {
    void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
    void operator()(SSL* session) const { SSL_free(session); }
  };
  int fd_ = -1;
  std::unique_ptr<SSL_CTX, Delete> context_;
  std::unique_ptr<SSL, Delete> tls_;
  std::string in_;
};

// "POST /echo HTTP/1.1" with a Host and the body's length.
std::string post(std::string_view body, std::string_view extra_headers = "", std::string_view path = "/echo");
inline const std::string kGet = "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n";

}  // namespace sharder::testing
