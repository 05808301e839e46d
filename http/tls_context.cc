#include "http/tls_context.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <string>
#include <string_view>

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

}  // namespace

void TlsContext::Delete::operator()(ssl_ctx_st* context) const {
  SSL_CTX_free(context);
}

Result<TlsContext> TlsContext::make(const TlsIdentity& identity) {
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

Result<void> TlsContextSource::load() {
  tried_ = identity_.get();
  if (!tried_) {
    return {};
  }
  auto context = TlsContext::make(*tried_);
  if (!context) {
    return std::unexpected(std::move(context.error()));
  }
  context_ = std::make_unique<TlsContext>(std::move(*context));
  return {};
}

const TlsContext* TlsContextSource::current() {
  if (const auto& newest = identity_.get(); newest != tried_ && newest) {
    tried_ = newest;
    if (auto context = TlsContext::make(*newest)) {
      context_ = std::make_unique<TlsContext>(std::move(*context));
    } else {
      log_.error("TLS certificate does not load, the old one stays", {{"error", context.error().message}});
    }
  }
  return context_.get();
}

}  // namespace sharder::http
