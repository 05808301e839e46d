#include "certs/self_signed.h"

#include <unistd.h>

#include <array>
#include <ctime>
#include <string>
#include <vector>

#include "certs/openssl_internal.h"
#include "certs/x509.h"

namespace sharder::certs {
namespace {

constexpr std::chrono::seconds kLifetime = std::chrono::days(3650);
// How far the clock of a peer may be behind ours.
constexpr std::chrono::seconds kBackdate = std::chrono::hours(1);

template <class Write>
std::string to_pem(Write write) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  char* text = nullptr;
  if (!bio || write(bio.get()) != 1) {
    return {};
  }
  const long length = BIO_get_mem_data(bio.get(), &text);
  return {text, static_cast<std::size_t>(length)};
}

bool add_extension(X509* certificate, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, certificate, certificate, nullptr, nullptr, 0);
  const ExtensionPtr extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
  return extension && X509_add_ext(certificate, extension.get(), -1) == 1;
}

bool set_serial(X509* certificate) {
  // 127 random bits, positive: RFC 5280 allows 20 bytes.
  const BignumPtr serial(BN_new());
  return serial && BN_rand(serial.get(), 127, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
         BN_to_ASN1_INTEGER(serial.get(), X509_get_serialNumber(certificate)) != nullptr;
}

bool set_names(X509* certificate, const SelfSignedOptions& options) {
  X509_NAME* const subject = X509_get_subject_name(certificate);
  // The field holds 64 characters at most (RFC 5280). Clients look only at the alternative names.
  const std::string common_name = options.common_name.substr(0, 64);
  if (X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
                                 reinterpret_cast<const unsigned char*>(common_name.data()),
                                 static_cast<int>(common_name.size()), -1, 0) != 1) {
    return false;
  }
  std::string names;
  for (const auto& name : options.dns_names) {
    names += (names.empty() ? "DNS:" : ",DNS:") + name;
  }
  for (const auto& address : options.ip_addresses) {
    names += (names.empty() ? "IP:" : ",IP:") + address;
  }
  return X509_set_issuer_name(certificate, subject) == 1 &&
         (names.empty() || add_extension(certificate, NID_subject_alt_name, names));
}

bool fill(X509* certificate, EVP_PKEY* key, const SelfSignedOptions& options) {
  const std::time_t now = std::chrono::duration_cast<std::chrono::seconds>(options.now.time_since_epoch()).count();
  return X509_set_version(certificate, X509_VERSION_3) == 1 && set_serial(certificate) &&
         ASN1_TIME_set(X509_getm_notBefore(certificate), now - kBackdate.count()) != nullptr &&
         ASN1_TIME_set(X509_getm_notAfter(certificate), now + options.lifetime.count()) != nullptr &&
         X509_set_pubkey(certificate, key) == 1 && set_names(certificate, options) &&
         add_extension(certificate, NID_basic_constraints, "critical,CA:FALSE") &&
         add_extension(certificate, NID_key_usage, "critical,digitalSignature") &&
         add_extension(certificate, NID_ext_key_usage, "serverAuth") && X509_sign(certificate, key, EVP_sha256()) > 0;
}

}  // namespace

Result<TlsIdentity> make_self_signed(const SelfSignedOptions& options) {
  ERR_clear_error();
  const KeyPtr key(EVP_EC_gen("P-256"));
  const CertificatePtr certificate(X509_new());
  if (!key || !certificate || !fill(certificate.get(), key.get(), options)) {
    return fail(ErrorCode::kInvalid, "make a self-signed certificate: " + take_openssl_error());
  }
  return make_identity(
      to_pem([&](BIO* bio) { return PEM_write_bio_X509(bio, certificate.get()); }),
      to_pem([&](BIO* bio) { return PEM_write_bio_PrivateKey(bio, key.get(), nullptr, nullptr, 0, nullptr, nullptr); }),
      {.certificate = "self-signed certificate", .key = "self-signed certificate's key"});
}

Result<TlsIdentity> self_signed_identity(const Clock& clock) {
  SelfSignedOptions options{.common_name = "localhost",
                            .dns_names = {"localhost"},
                            .ip_addresses = {"127.0.0.1", "::1"},
                            .now = clock.wall(),
                            .lifetime = kLifetime};
  // A host name may hold any characters. One that could break the list of alternative names is left out.
  std::array<char, 256> host{};
  if (gethostname(host.data(), host.size() - 1) == 0) {
    const std::string name(host.data());
    const bool plain =
        name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") == std::string::npos;
    if (!name.empty() && plain && name != "localhost") {
      options.dns_names.push_back(name);
    }
  }
  return make_self_signed(options);
}

}  // namespace sharder::certs
