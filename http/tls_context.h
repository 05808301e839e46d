#pragma once

#include <memory>

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
  // kInvalid: OpenSSL does not accept the certificate or key; the message has its reason.
  static Result<TlsContext> make(const TlsIdentity& identity);

  // The server side of a new connection on the non-blocking socket `fd`; null when memory is short.
  SslSession new_session(int fd) const;

 private:
  struct Delete {
    void operator()(ssl_ctx_st* context) const;
  };
  explicit TlsContext(std::unique_ptr<ssl_ctx_st, Delete> context) : context_(std::move(context)) {}

  std::unique_ptr<ssl_ctx_st, Delete> context_;
};

// The context of the newest identity that loads. On one loop's thread; load() is called before that thread starts.
class TlsContextSource {
 public:
  TlsContextSource(const Published<TlsIdentity>& identity, Logger log) : identity_(identity), log_(std::move(log)) {}

  // Loads the first context if there is an identity already; kInvalid when it does not load.
  Result<void> load();
  // For the next handshake; null while there has been no identity. A new identity that does not load is logged once,
  // and the old one kept.
  const TlsContext* current();

 private:
  PublishedReader<TlsIdentity> identity_;
  Logger log_;
  std::shared_ptr<const TlsIdentity> tried_;
  std::unique_ptr<TlsContext> context_;
};

}  // namespace sharder::http
