#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "tests/apiserver/api.h"

namespace sharder::apiserver {

// Who asks, as far as the connection tells.
struct Caller {
  std::string bearer_token = {};
  std::string certificate_name = {};  // common name of a client certificate that our CA signed
};

// An answer and what is to become of it.
struct Reply {
  Answer answer = {};
  std::optional<Fault::Cut> cut = {};
  std::shared_ptr<void> registration = {};                // lives as long as a watch
  std::function<bool()> frozen = {};                      // a watch holds its events back while it is true
  std::function<std::chrono::milliseconds()> pause = {};  // of a watch between two events
  std::function<void()> finished = {};                    // a watch is over
};

// HTTP/1.1 over TLS on 127.0.0.1: a thread per connection, TCP_NODELAY. The handler runs on the connection's thread.
class HttpPort {
 public:
  struct Tls {
    std::string certificate_pem = {};
    std::string private_key_pem = {};
    std::string client_ca_pem = {};
  };
  using Handler = std::function<Reply(const Request&, const Caller&)>;

  // Throws std::runtime_error when the port is taken.
  HttpPort(const Tls& tls, int port, Handler handler);
  ~HttpPort();

  int port() const;
  // Returns when every connection is closed. Whatever a handler waits for must be over.
  void stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sharder::apiserver
