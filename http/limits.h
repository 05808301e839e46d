#pragma once

#include <chrono>
#include <cstddef>

namespace sharder::http {

// Limits of what clients may use (docs/design.md, section 7).
struct Limits {
  std::size_t max_header_bytes = std::size_t{64} * 1024;      // else 431
  std::size_t max_body_bytes = std::size_t{7} * 1024 * 1024;  // else 413
  // Past it, connections that never completed a request are closed first, then the longest idle ones, but none with a
  // request in flight. When none can be closed, a few more are accepted and answered with 503 and `Retry-After: 1`.
  // Past these, clients wait to be accepted.
  std::size_t max_connections = 4096;
  // Bytes of requests over 16 KiB, all connections together. Past it, the next such request is answered with 503 and
  // `Retry-After: 1`.
  std::size_t max_buffered_bytes = std::size_t{128} * 1024 * 1024;
  std::chrono::milliseconds handshake_timeout{10'000};
  std::chrono::milliseconds header_timeout{10'000};  // from a request's first byte
  std::chrono::milliseconds body_timeout{10'000};
  std::chrono::milliseconds write_timeout{10'000};
  std::chrono::milliseconds idle_timeout{120'000};  // kube-apiserver keeps its own for 90 s
};

}  // namespace sharder::http
