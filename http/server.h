#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/guarded.h"
#include "base/log.h"
#include "base/tls_identity.h"

// The HTTP/1.1 listener that others reach: webhook, metrics and health port (docs/design.md, section 7).
namespace sharder::http {

// Bytes that may be read behind a request's body (what they are is unspecified): simdjson loads whole vectors.
inline constexpr std::size_t kBodyPadding = 64;

// One request. The views live until the handler has returned.
struct Request {
  std::string_view method;         // "GET", "POST", ... as sent
  std::string_view path;           // of the target, not decoded: "/webhooks/sharder/controllerring/a"
  std::string_view query;          // behind '?', not decoded; "" when there is none
  std::string_view content_type;   // "" when absent
  std::string_view authorization;  // "" when absent
  std::string_view body;           // kBodyPadding readable bytes follow it
};

struct Response {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body = {};
  std::vector<std::pair<std::string, std::string>> headers = {};  // besides those of the server itself
};

// Sends the answer, once, from any thread. Dropped without a call: the server answers 500.
using Reply = std::move_only_function<void(Response)>;

// Answers the requests of one loop, always called on that loop's thread. To answer later, keep `reply` and copy what is
// needed of `request`; the connection reads no further request meanwhile. An exception is logged and answered with 500.
class Handler {
 public:
  virtual ~Handler() = default;
  virtual void handle(const Request& request, Reply reply) = 0;
};

struct Limits {
  std::size_t max_header_bytes = std::size_t{64} * 1024;      // else 431
  std::size_t max_body_bytes = std::size_t{7} * 1024 * 1024;  // else 413
  std::size_t max_connections = 4096;  // past it: those go first that never completed a request, then the
                                       // longest idle; a connection with a request in flight never. With
                                       // nobody to go, a few more are taken and answered with 503 and
                                       // `Retry-After: 1`; past these, clients wait to be accepted
  // Of requests over 16 KiB, all connections together; past it the next is answered with 503 and `Retry-After: 1`.
  std::size_t max_buffered_bytes = std::size_t{128} * 1024 * 1024;
  std::chrono::milliseconds handshake_timeout{10'000};
  std::chrono::milliseconds header_timeout{10'000};  // from a request's first byte
  std::chrono::milliseconds body_timeout{10'000};
  std::chrono::milliseconds write_timeout{10'000};
  std::chrono::milliseconds idle_timeout{120'000};  // kube-apiserver keeps its own for 90 s
};

struct ServerOptions {
  std::string name = {};     // in log lines and thread names: "webhook"
  std::string address = {};  // ":9443" (all interfaces, IPv6 and IPv4), "127.0.0.1:0", "[::1]:80", "localhost:8081"
  unsigned loops = 1;        // threads; each has an io_context and, with TLS, an SSL context of its own
  Limits limits = {};
  // With it the server speaks TLS >= 1.2 only (no renegotiation, no session tickets); each loop takes a new identity
  // for its next handshake. Must hold one at start(). Null: plain HTTP. Outlives the server.
  const Published<TlsIdentity>* tls = nullptr;
};

// Counts since start, for tests. Safe from any thread.
struct ServerStats {
  std::uint64_t connections = 0;  // open now
  std::uint64_t accepted = 0;
  std::uint64_t requests = 0;  // answered by a handler
  std::uint64_t rejected = 0;  // answered with a 4xx (501, 505) by the server itself
  std::uint64_t shed = 0;      // answered with a 503 by the server itself
  std::uint64_t evicted = 0;   // closed to make room
  std::uint64_t failed_handshakes = 0;
};

// Binds in start(); the destructor is stop() without grace. start(), begin_drain() and stop() from one thread.
class Server {
 public:
  // One handler for each loop, made by `make_handler(loop index)` in start().
  using HandlerFactory = std::function<std::unique_ptr<Handler>(unsigned loop)>;

  Server(ServerOptions options, HandlerFactory make_handler, Logger log);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Binds and begins to accept. kInvalid names the address and why: not parseable, in use, not permitted.
  Result<void> start();
  // The bound port (useful with port 0); 0 before start().
  std::uint16_t port() const;

  // From now on each answer carries `Connection: close` and its connection is closed after it; connections are still
  // accepted.
  void begin_drain();
  // Stops accepting, closes idle connections, lets requests in flight finish until `grace` has passed (nullopt: no
  // limit), then closes the rest and ends the threads. True when nothing had to be cut.
  bool stop(std::optional<std::chrono::milliseconds> grace);

  ServerStats stats() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sharder::http
