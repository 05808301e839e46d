#pragma once

#include <functional>
#include <string>

#include "base/guarded.h"
#include "base/tls_identity.h"
#include "http/limits.h"

namespace sharder::http {

struct ServerOptions {
  std::string name = {};     // in log lines and thread names: "webhook"
  std::string address = {};  // ":9443" (all interfaces, IPv6 and IPv4), "127.0.0.1:0", "[::1]:80", "localhost:8081"
  unsigned loops = 1;        // threads; each has an io_context and, with TLS, an SSL context of its own
  Limits limits = {};
  // With it the server speaks TLS >= 1.2 only (no renegotiation, no session tickets); each loop takes a new identity
  // for its next handshake. While it holds none, connections are closed at once. Null: plain HTTP. Outlives the server.
  const Published<TlsIdentity>* tls = nullptr;
  // With it, only clients are served that show a certificate of one of these authorities (PEM), for client
  // authentication; others fail in the handshake. After a change it holds for new handshakes, and each older connection
  // ends after its next answer. While it holds none, connections are closed at once. Null: clients show no certificate.
  // Needs `tls`. Outlives the server.
  const Published<std::string>* client_ca = nullptr;
  // Called on a loop for each client that fails in the handshake because of its certificate, or has none.
  std::function<void()> on_refused_client = {};
};

}  // namespace sharder::http
