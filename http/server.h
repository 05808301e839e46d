#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "base/error.h"
#include "base/log.h"
#include "http/message.h"
#include "http/server_options.h"

// The HTTP/1.1 listener that others reach: webhook, metrics and health port (docs/design.md, section 7).
namespace sharder::http {

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

// Binds in start(); the destructor is stop() without grace. start(), begin_drain() and stop() from one thread. The
// process ignores SIGPIPE.
class Server {
 public:
  // One handler for each loop, made by `make_handler(loop index)` in start().
  using HandlerFactory = std::function<std::unique_ptr<Handler>(unsigned loop)>;

  Server(ServerOptions options, HandlerFactory make_handler, Logger log);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Binds and begins to accept. kInvalid names the address and the reason: not parseable, in use, not permitted.
  Result<void> start();
  // The bound port (useful with port 0); 0 before start().
  std::uint16_t port() const;

  // From now on each answer carries `Connection: close`, and its connection is closed after it. New connections are
  // still accepted, and idle ones stay open until stop().
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
