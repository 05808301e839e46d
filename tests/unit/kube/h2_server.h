#pragma once

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <array>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "tests/support/test_certificate.h"
#include "tests/unit/kube/loopback.h"

namespace sharder::testing {

// Just enough of an HTTP/2 server over TLS to play a good, a slow and a broken kube-apiserver. It does not look at what
// is asked: the handler decides, stream by stream, what is answered.
class H2Server {
 public:
  class Connection {
   public:
    // A header with status 200, and where `end` also the end of the stream. From any thread.
    void head(std::uint32_t stream, bool end = false) { frame(1, end ? 0x05 : 0x04, stream, "\x88"); }
    void data(std::uint32_t stream, std::string_view text, bool end = false) { frame(0, end ? 1 : 0, stream, text); }
    void answer(std::uint32_t stream, std::string_view text) {
      head(stream);
      data(stream, text, true);
    }
    void reset(std::uint32_t stream) { frame(3, 0, stream, std::string("\0\0\0\x02", 4)); }  // INTERNAL_ERROR
    // No new streams; those up to `last` are still answered.
    void go_away(std::uint32_t last) {
      std::string body(8, '\0');
      body[2] = static_cast<char>(last >> 8);
      body[3] = static_cast<char>(last);
      frame(7, 0, 0, body);
    }

    const int number;
    const int fd;

   private:
    friend class H2Server;
    Connection(int which, int socket, SSL* tls) : number(which), fd(socket), ssl_(tls, SSL_free) {
      SSL_set_fd(tls, socket);
    }

    void frame(std::uint8_t type, std::uint8_t flags, std::uint32_t stream, std::string_view body) {
      std::string bytes;
      bytes += static_cast<char>(body.size() >> 16);
      bytes += static_cast<char>(body.size() >> 8);
      bytes += static_cast<char>(body.size());
      bytes += static_cast<char>(type);
      bytes += static_cast<char>(flags);
      for (int shift = 24; shift >= 0; shift -= 8) {
        bytes += static_cast<char>(stream >> shift);
      }
      bytes += body;
      std::lock_guard lock(mutex_);
      SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size()));
    }
    // False at the end of the connection.
    bool read_exactly(char* to, std::size_t size) {
      while (size > 0) {
        if (SSL_pending(ssl_.get()) == 0) {
          pollfd wanted{.fd = fd, .events = POLLIN, .revents = 0};
          poll(&wanted, 1, -1);
        }
        std::lock_guard lock(mutex_);
        const int got = SSL_read(ssl_.get(), to, static_cast<int>(size));
        if (got <= 0) {
          return false;
        }
        to += got;
        size -= static_cast<std::size_t>(got);
      }
      return true;
    }

    const std::unique_ptr<SSL, decltype(&SSL_free)> ssl_;
    std::mutex mutex_;  // one thread reads while others write, and OpenSSL wants them to take turns
  };

  // Called when a request has come whole. Connections live as long as the server, so that a handler may answer later,
  // from another thread; but not one that is closed.
  using Handler = std::function<void(Connection&, std::uint32_t stream)>;

  H2Server(const TestCertificate& identity, Handler handler, std::uint16_t port = 0)
      : handler_(std::move(handler)),
        context_(make_context(identity), SSL_CTX_free),
        loopback_([this](int fd, int number) { serve(fd, number); }, port) {}

  std::uint16_t port() const { return loopback_.port(); }
  std::string url() const { return "https://" + loopback_.address(); }
  int connections() const { return loopback_.connections(); }
  void cut() { loopback_.cut(); }

  // For a server that shows `identity` and speaks `protocol` only. The caller frees it.
  static SSL_CTX* make_context(const TestCertificate& identity, const char* protocol = "h2") {
    SSL_CTX* const context = SSL_CTX_new(TLS_server_method());
    const std::unique_ptr<BIO, decltype(&BIO_free_all)> certificate(
        BIO_new_mem_buf(identity.certificate_pem.data(), -1), BIO_free_all);
    const std::unique_ptr<BIO, decltype(&BIO_free_all)> key(BIO_new_mem_buf(identity.private_key_pem.data(), -1),
                                                            BIO_free_all);
    const std::unique_ptr<X509, decltype(&X509_free)> leaf(
        PEM_read_bio_X509(certificate.get(), nullptr, nullptr, nullptr), X509_free);
    const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> secret(
        PEM_read_bio_PrivateKey(key.get(), nullptr, nullptr, nullptr), EVP_PKEY_free);
    if (SSL_CTX_use_certificate(context, leaf.get()) != 1 || SSL_CTX_use_PrivateKey(context, secret.get()) != 1) {
      throw std::runtime_error("cannot use the certificate");
    }
    SSL_CTX_set_alpn_select_cb(
        context,
        [](SSL*, const unsigned char** out, unsigned char* length, const unsigned char* in, unsigned int size,
           void* user) {
          std::string own(static_cast<const char*>(user));
          own.insert(own.begin(), static_cast<char>(own.size()));
          unsigned char* chosen = nullptr;
          const int found =
              SSL_select_next_proto(&chosen, length, in, size, reinterpret_cast<const unsigned char*>(own.data()),
                                    static_cast<unsigned>(own.size()));
          *out = chosen;  // in the client's list: that lives on
          return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
        },
        const_cast<char*>(protocol));
    return context;
  }

 private:
  void serve(int fd, int number) {
    Connection* connection = nullptr;
    {
      std::lock_guard lock(mutex_);
      open_.push_back(std::unique_ptr<Connection>(new Connection(number, fd, SSL_new(context_.get()))));
      connection = open_.back().get();
    }
    if (SSL_accept(connection->ssl_.get()) == 1) {
      read_frames(*connection);
    }
    ERR_clear_error();
  }

  void read_frames(Connection& connection) {
    std::string preface(24, '\0');
    if (!connection.read_exactly(preface.data(), preface.size())) {
      return;
    }
    connection.frame(4, 0, 0, {});  // SETTINGS
    for (;;) {
      std::string header(9, '\0');
      if (!connection.read_exactly(header.data(), header.size())) {
        return;
      }
      const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(header[i]); };
      std::string body((std::size_t{byte(0)} << 16) | (std::size_t{byte(1)} << 8) | byte(2), '\0');
      if (!connection.read_exactly(body.data(), body.size())) {
        return;
      }
      const auto type = byte(3);
      const auto flags = byte(4);
      const std::uint32_t stream =
          (std::uint32_t{byte(5)} << 24) | (std::uint32_t{byte(6)} << 16) | (std::uint32_t{byte(7)} << 8) | byte(8);
      if (type == 4 && (flags & 1) == 0) {
        connection.frame(4, 1, 0, {});  // SETTINGS, acknowledged
      } else if (type == 6 && (flags & 1) == 0) {
        connection.frame(6, 1, 0, body);  // PING, acknowledged
      } else if ((type == 0 || type == 1) && (flags & 1) != 0) {
        handler_(connection, stream);
      }
    }
  }

  Handler handler_;
  const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context_;
  std::mutex mutex_;
  std::list<std::unique_ptr<Connection>> open_;  // guarded by mutex_
  Loopback loopback_;
};

// Carries bytes both ways between a TLS connection and a plain one until one side ends.
inline void relay_tls(SSL* ssl, int plain) {
  std::array<char, 16'384> buffer;
  for (;;) {
    std::array<pollfd, 2> ends{pollfd{.fd = SSL_get_fd(ssl), .events = POLLIN, .revents = 0},
                               pollfd{.fd = plain, .events = POLLIN, .revents = 0}};
    if (SSL_pending(ssl) == 0 && poll(ends.data(), ends.size(), -1) <= 0) {
      return;
    }
    if (SSL_pending(ssl) > 0 || ends[0].revents != 0) {
      const int size = SSL_read(ssl, buffer.data(), static_cast<int>(buffer.size()));
      if (size <= 0) {
        return;
      }
      write_all(plain, {buffer.data(), static_cast<std::size_t>(size)});
    }
    if (ends[1].revents != 0) {
      const ssize_t size = read(plain, buffer.data(), buffer.size());
      if (size <= 0 || SSL_write(ssl, buffer.data(), static_cast<int>(size)) <= 0) {
        return;
      }
    }
  }
}

}  // namespace sharder::testing
