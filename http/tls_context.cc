#include "http/tls_context.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/delete_with.h"
#include "base/pem_internal.h"

namespace sharder::http {
namespace {

std::unexpected<Error> openssl_failure(const std::string& what) {
  return fail(ErrorCode::kInvalid, what + ": " + take_openssl_error());
}

// A client that offers ALPN must offer HTTP/1.1. A client that offers nothing is assumed to speak HTTP/1.1.
int select_http_1_1(SSL* /*session*/, const unsigned char** out, unsigned char* out_size, const unsigned char* in,
                    unsigned int in_size, void* /*context*/) {
  constexpr std::string_view kWanted = "http/1.1";
  for (unsigned int i = 0; i < in_size; i += 1U + in[i]) {
    const std::string_view offered(reinterpret_cast<const char*>(in + i + 1), in[i]);
    if (offered == kWanted) {
      *out = in + i + 1;
      *out_size = in[i];
      return SSL_TLSEXT_ERR_OK;
    }
  }
  return SSL_TLSEXT_ERR_ALERT_FATAL;
}

// The groups for the key exchange, the strongest first; "" when OpenSSL has none of them. X25519MLKEM768 comes with
// OpenSSL 3.5, and a FIPS provider may leave out X25519: a name that OpenSSL does not know makes the whole list fail.
std::string known_groups(SSL_CTX* context) {
  std::string known;
  for (const char* const group : {"X25519MLKEM768", "X25519", "P-256", "P-384"}) {
    if (SSL_CTX_set1_groups_list(context, group) == 1) {
      known.append(known.empty() ? "" : ":").append(group);
    }
  }
  ERR_clear_error();
  return known;
}

Result<void> configure(SSL_CTX* context) {
  // One record of input and one of output are the most that OpenSSL buffers, and nothing while a connection is idle;
  // reading ahead gets a record with one system call instead of two.
  SSL_CTX_set_mode(context,
                   SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_read_ahead(context, 1);
  SSL_CTX_set_options(
      context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION | SSL_OP_IGNORE_UNEXPECTED_EOF);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(context, 0);
  SSL_CTX_set_alpn_select_cb(context, select_http_1_1, nullptr);
  SSL_CTX_set_verify(context, SSL_VERIFY_NONE, nullptr);
  if (SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1 ||
      SSL_CTX_set_cipher_list(context, "ECDHE+AESGCM:ECDHE+CHACHA20") != 1 ||
      SSL_CTX_set1_groups_list(context, known_groups(context).c_str()) != 1) {
    return openssl_failure("TLS settings");
  }
  return {};
}

Result<void> use_chain(SSL_CTX* context, const std::string& chain_pem) {
  const PemCertificates chain = read_pem_certificates(chain_pem);
  if (chain.certificates.empty()) {
    return fail(ErrorCode::kInvalid, "certificate: " + chain.damage.value_or("there is none"));
  }
  if (SSL_CTX_use_certificate(context, chain.certificates.front().get()) != 1) {
    return openssl_failure("certificate");
  }
  for (std::size_t i = 1; i < chain.certificates.size(); ++i) {
    if (SSL_CTX_add1_chain_cert(context, chain.certificates[i].get()) != 1) {
      return openssl_failure("certificate chain");
    }
  }
  return {};
}

Result<void> use_key(SSL_CTX* context, const std::string& key_pem) {
  const PemKey found = read_pem_key(key_pem);
  if (!found.key) {
    return fail(ErrorCode::kInvalid, "private key: " + found.damage);
  }
  if (SSL_CTX_use_PrivateKey(context, found.key.get()) != 1 || SSL_CTX_check_private_key(context) != 1) {
    return openssl_failure("private key");
  }
  return {};
}

// Bounds of what a client may have us do before it is known: kube-apiserver shows a certificate, and seldom more than
// one between that and the CA.
constexpr long kMaxClientChainBytes = 16L * 1024;
constexpr int kMaxClientChainDepth = 4;

// No session is ever resumed (see configure()), so each handshake verifies. The names of the CA are not sent: a client
// has one certificate for us, and others need not know who our clients are.
Result<void> require_client_certificate(SSL_CTX* context, const std::string& client_ca) {
  const PemCertificates roots = read_pem_certificates(client_ca);
  if (roots.certificates.empty() || roots.damage) {
    return fail(ErrorCode::kInvalid, "client CA: " + roots.damage.value_or("there is none"));
  }
  // Not the context's own store: from that, OpenSSL would complete the chain that we show.
  const std::unique_ptr<X509_STORE, DeleteWith<X509_STORE_free>> store(X509_STORE_new());
  bool good = store && X509_STORE_set_flags(store.get(), X509_V_FLAG_PARTIAL_CHAIN) == 1;
  for (const CertificatePtr& root : roots.certificates) {
    good = good && X509_STORE_add_cert(store.get(), root.get()) == 1;
  }
  if (!good || SSL_CTX_set1_verify_cert_store(context, store.get()) != 1 ||
      SSL_CTX_set_purpose(context, X509_PURPOSE_SSL_CLIENT) != 1) {
    return openssl_failure("client CA");
  }
  SSL_CTX_set_max_cert_list(context, kMaxClientChainBytes);
  SSL_CTX_set_verify_depth(context, kMaxClientChainDepth);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  return {};
}

}  // namespace

void TlsContext::Delete::operator()(ssl_ctx_st* context) const {
  SSL_CTX_free(context);
}

Result<TlsContext> TlsContext::make(const TlsIdentity& identity, const std::string* client_ca) {
  std::unique_ptr<ssl_ctx_st, Delete> context(SSL_CTX_new(TLS_server_method()));
  if (!context) {
    return openssl_failure("TLS context");
  }
  if (auto done = configure(context.get()); !done) {
    return std::unexpected(std::move(done.error()));
  }
  if (auto done = use_chain(context.get(), identity.certificate_chain_pem); !done) {
    return std::unexpected(std::move(done.error()));
  }
  if (auto done = use_key(context.get(), identity.private_key_pem); !done) {
    return std::unexpected(std::move(done.error()));
  }
  if (client_ca != nullptr) {
    if (auto done = require_client_certificate(context.get(), *client_ca); !done) {
      return std::unexpected(std::move(done.error()));
    }
  }
  ERR_clear_error();
  return TlsContext(std::move(context));
}

SslSession TlsContext::new_session(int fd) const {
  SslSession session(SSL_new(context_.get()));
  // OpenSSL sends with write(2), so the process must ignore SIGPIPE.
  if (!session || SSL_set_fd(session.get(), fd) != 1) {
    ERR_clear_error();
    return nullptr;
  }
  SSL_set_accept_state(session.get());
  return session;
}

TlsContextSource::TlsContextSource(const Published<TlsIdentity>& identity, const Published<std::string>* client_ca,
                                   Logger log)
    : identity_(identity), log_(std::move(log)) {
  if (client_ca != nullptr) {
    client_ca_.emplace(*client_ca);
  }
}

bool TlsContextSource::take_newest() {
  const auto& identity = identity_.get();
  const auto client_ca = client_ca_ ? client_ca_->get() : nullptr;
  const bool complete = identity && (client_ca || !client_ca_);
  if (!complete || (identity == tried_ && client_ca == tried_ca_)) {
    return false;
  }
  tried_ = identity;
  tried_ca_ = client_ca;
  return true;
}

Result<void> TlsContextSource::load() {
  if (!take_newest()) {
    return {};
  }
  auto context = TlsContext::make(*tried_, tried_ca_.get());
  if (!context) {
    return std::unexpected(std::move(context.error()));
  }
  context_ = std::make_unique<TlsContext>(std::move(*context));
  return {};
}

const TlsContext* TlsContextSource::current() {
  if (take_newest()) {
    if (auto context = TlsContext::make(*tried_, tried_ca_.get())) {
      context_ = std::make_unique<TlsContext>(std::move(*context));
    } else {
      log_.error("TLS certificate does not load, the old one stays", {{"error", context.error().message}});
    }
  }
  return context_.get();
}

}  // namespace sharder::http
