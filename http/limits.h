#pragma once

#include <chrono>
#include <cstddef>

namespace sharder::http {

// What a client may use of the listener (docs/design.md, section 7).
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

}  // namespace sharder::http
