#include "http/tls_context.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/delete_with.h"

namespace sharder::http {
namespace {

using BioPtr = std::unique_ptr<BIO, DeleteWith<BIO_free>>;
using CertificatePtr = std::unique_ptr<X509, DeleteWith<X509_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, DeleteWith<EVP_PKEY_free>>;

std::unexpected<Error> openssl_failure(const std::string& what) {
  std::array<char, 256> text = {};
  ERR_error_string_n(ERR_peek_last_error(), text.data(), text.size());
  ERR_clear_error();
  return fail(ErrorCode::kInvalid, what + ": " + text.data());
}

// --- The socket under OpenSSL. Its own would send with write(2), which raises SIGPIPE when the client has gone. ---

int socket_of(BIO* bio) {
  return static_cast<int>(reinterpret_cast<std::intptr_t>(BIO_get_data(bio)));
}

int socket_read(BIO* bio, char* into, std::size_t size, std::size_t* bytes) {
  BIO_clear_retry_flags(bio);
  const ssize_t received = ::recv(socket_of(bio), into, size, 0);
  if (received > 0) {
    *bytes = static_cast<std::size_t>(received);
    return 1;
  }
  if (received == 0) {
    BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
  } else if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) {
    BIO_set_retry_read(bio);
  }
  return 0;
}

int socket_write(BIO* bio, const char* data, std::size_t size, std::size_t* bytes) {
  BIO_clear_retry_flags(bio);
  const ssize_t sent = ::send(socket_of(bio), data, size, MSG_NOSIGNAL);
  if (sent >= 0) {
    *bytes = static_cast<std::size_t>(sent);
    return 1;
  }
  if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) {
    BIO_set_retry_write(bio);
  }
  return 0;
}

long socket_control(BIO* bio, int command, long /*number*/, void* /*pointer*/) {
  switch (command) {
    case BIO_CTRL_FLUSH:
      return 1;
    case BIO_CTRL_EOF:
      return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0 ? 1 : 0;
    default:
      return 0;
  }
}

const BIO_METHOD* socket_method() {
  static const std::unique_ptr<BIO_METHOD, DeleteWith<BIO_meth_free>> shared = [] {
    BIO_METHOD* method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "non-blocking socket");
    BIO_meth_set_read_ex(method, socket_read);
    BIO_meth_set_write_ex(method, socket_write);
    BIO_meth_set_ctrl(method, socket_control);
    return std::unique_ptr<BIO_METHOD, DeleteWith<BIO_meth_free>>(method);
  }();
  return shared.get();
}

// --- Settings ---

// A client that offers ALPN must offer HTTP/1.1; one that offers nothing is taken to mean it.
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
      SSL_CTX_set_cipher_list(context, "ECDHE+AESGCM:ECDHE+CHACHA20") != 1) {
    return openssl_failure("TLS settings");
  }
  return {};
}

CertificatePtr next_certificate(BIO* pem) {
  return CertificatePtr(PEM_read_bio_X509(pem, nullptr, nullptr, nullptr));
}

Result<void> use_chain(SSL_CTX* context, const std::string& chain_pem) {
  const BioPtr pem(BIO_new_mem_buf(chain_pem.data(), static_cast<int>(chain_pem.size())));
  const CertificatePtr leaf = next_certificate(pem.get());
  if (!leaf || SSL_CTX_use_certificate(context, leaf.get()) != 1) {
    return openssl_failure("certificate");
  }
  while (const CertificatePtr intermediate = next_certificate(pem.get())) {
    if (SSL_CTX_add1_chain_cert(context, intermediate.get()) != 1) {
      return openssl_failure("certificate chain");
    }
  }
  ERR_clear_error();  // the end of the file counts as an error
  return {};
}

// A key with a passphrase does not load: nobody is asked for it.
int no_passphrase(char* /*buffer*/, int /*size*/, int /*writing*/, void* /*context*/) {
  return 0;
}

Result<void> use_key(SSL_CTX* context, const std::string& key_pem) {
  const BioPtr pem(BIO_new_mem_buf(key_pem.data(), static_cast<int>(key_pem.size())));
  const KeyPtr key(PEM_read_bio_PrivateKey(pem.get(), nullptr, no_passphrase, nullptr));
  if (!key || SSL_CTX_use_PrivateKey(context, key.get()) != 1 || SSL_CTX_check_private_key(context) != 1) {
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
  BIO* bio = BIO_new(socket_method());
  if (!session || bio == nullptr) {
    BIO_free(bio);
    ERR_clear_error();
    return nullptr;
  }
  BIO_set_data(bio, reinterpret_cast<void*>(static_cast<std::intptr_t>(fd)));  // NOLINT(performance-no-int-to-ptr)
  BIO_set_init(bio, 1);
  SSL_set_bio(session.get(), bio, bio);  // takes the BIO
  SSL_set_accept_state(session.get());
  return session;
}

Result<void> TlsContextSource::load() {
  tried_ = identity_.get();
  if (!tried_) {
    return fail(ErrorCode::kInvalid, "no TLS certificate");
  }
  auto context = TlsContext::make(*tried_);
  if (!context) {
    return std::unexpected(std::move(context.error()));
  }
  context_ = std::make_unique<TlsContext>(std::move(*context));
  return {};
}

const TlsContext& TlsContextSource::current() {
  if (const auto& newest = identity_.get(); newest != tried_ && newest) {
    tried_ = newest;
    if (auto context = TlsContext::make(*newest)) {
      context_ = std::make_unique<TlsContext>(std::move(*context));
    } else {
      log_.error("TLS certificate does not load, the old one stays", {{"error", context.error().message}});
    }
  }
  return *context_;
}

}  // namespace sharder::http
