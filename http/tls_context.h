#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/guarded.h"
#include "base/log.h"
#include "base/tls_identity.h"
#include "http/channel.h"

struct ssl_ctx_st;

namespace sharder::http {

// One loop's TLS settings for one identity: TLS 1.2 with forward-secret AEAD suites, or 1.3; key exchange with
// X25519MLKEM768 (where OpenSSL has it, from 3.5 on), X25519, P-256 or P-384; no renegotiation, no compression, no
// resumption (kube-apiserver does not resume); ALPN "http/1.1". Immutable; used by one thread.
class TlsContext {
 public:
  // `client_ca`: with it the handshake fails for a client without a certificate for client authentication that verifies
  // with one of these certificates (PEM). As in Go, each of them is trusted by itself. Null: clients show none.
  // kInvalid: OpenSSL does not accept the certificate, the key or the client CA; the message has its reason.
  static Result<TlsContext> make(const TlsIdentity& identity, const std::string* client_ca = nullptr);

  // The server side of a new connection on the non-blocking socket `fd`; null when memory is short.
  SslSession new_session(int fd) const;

 private:
  struct Delete {
    void operator()(ssl_ctx_st* context) const;
  };
  explicit TlsContext(std::unique_ptr<ssl_ctx_st, Delete> context) : context_(std::move(context)) {}

  std::unique_ptr<ssl_ctx_st, Delete> context_;
};

// The context of the newest identity and client CA that load. On one loop's thread; load() is called before that thread
// starts.
class TlsContextSource {
 public:
  // `client_ca`: null: clients show no certificate. Both outlive it.
  TlsContextSource(const Published<TlsIdentity>& identity, const Published<std::string>* client_ca, Logger log);

  // Loads the first context if there is an identity already; kInvalid when it does not load.
  Result<void> load();
  // For the next handshake; null while there has been no identity, or no client CA where one is wanted. A new identity
  // or client CA that does not load is logged once, and the old context kept.
  const TlsContext* current();

 private:
  // Takes the newest of both; false when they were tried already, or one is missing.
  bool take_newest();

  PublishedReader<TlsIdentity> identity_;
  std::optional<PublishedReader<std::string>> client_ca_;
  Logger log_;
  std::shared_ptr<const TlsIdentity> tried_;
  std::shared_ptr<const std::string> tried_ca_;
  std::unique_ptr<TlsContext> context_;
};

}  // namespace sharder::http
