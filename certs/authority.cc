#include "certs/authority.h"

#include <array>
#include <ctime>

#include "certs/openssl_internal.h"
#include "certs/x509.h"

namespace sharder::certs {
namespace {

// How far the clock of a peer may be behind ours.
constexpr std::chrono::seconds kBackdate = std::chrono::hours(1);

std::string key_pem(EVP_PKEY* key) {
  return to_pem([&](BIO* bio) { return PEM_write_bio_PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr); });
}

// The issuer of a certificate that is being made.
struct Issuer {
  X509* certificate;
  EVP_PKEY* key;
};

bool add_extension(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const ExtensionPtr extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
  return extension && X509_add_ext(certificate, extension.get(), -1) == 1;
}

bool set_serial(X509* certificate) {
  // 127 random bits, positive: RFC 5280 allows 20 bytes.
  const BignumPtr serial(BN_new());
  return serial && BN_rand(serial.get(), 127, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
         BN_to_ASN1_INTEGER(serial.get(), X509_get_serialNumber(certificate)) != nullptr;
}

bool set_subject(X509* certificate, std::string common_name) {
  common_name.resize(std::min<std::size_t>(common_name.size(), 64));
  return X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_UTF8,
                                    reinterpret_cast<const unsigned char*>(common_name.data()),
                                    static_cast<int>(common_name.size()), -1, 0) == 1;
}

bool set_times(X509* certificate, WallTime wall, std::chrono::seconds lifetime) {
  const std::time_t now = std::chrono::duration_cast<std::chrono::seconds>(wall.time_since_epoch()).count();
  return ASN1_TIME_set(X509_getm_notBefore(certificate), now - kBackdate.count()) != nullptr &&
         ASN1_TIME_set(X509_getm_notAfter(certificate), now + lifetime.count()) != nullptr;
}

// Everything that a certificate of any kind has; `sign` comes last.
bool begin(X509* certificate, EVP_PKEY* key, const Issuer& issuer, const std::string& common_name) {
  return X509_set_version(certificate, X509_VERSION_3) == 1 && set_serial(certificate) &&
         X509_set_pubkey(certificate, key) == 1 && set_subject(certificate, common_name) &&
         X509_set_issuer_name(certificate, X509_get_subject_name(issuer.certificate)) == 1;
}

bool add_key_identifiers(X509* certificate, const Issuer& issuer) {
  return add_extension(certificate, issuer.certificate, NID_subject_key_identifier, "hash") &&
         (certificate == issuer.certificate ||
          add_extension(certificate, issuer.certificate, NID_authority_key_identifier, "keyid"));
}

std::string alternative_names(const ServerCertificate& wanted) {
  std::string names;
  for (const auto& name : wanted.dns_names) {
    names += (names.empty() ? "DNS:" : ",DNS:") + name;
  }
  for (const auto& address : wanted.ip_addresses) {
    names += (names.empty() ? "IP:" : ",IP:") + address;
  }
  return names;
}

bool fill_server(X509* certificate, EVP_PKEY* key, const Issuer& issuer, const ServerCertificate& wanted) {
  const std::string names = alternative_names(wanted);
  const auto add = [&](int nid, const std::string& value) {
    return add_extension(certificate, issuer.certificate, nid, value);
  };
  return begin(certificate, key, issuer, wanted.common_name) && set_times(certificate, wanted.now, wanted.lifetime) &&
         (names.empty() || add(NID_subject_alt_name, names)) && add(NID_basic_constraints, "critical,CA:FALSE") &&
         add(NID_key_usage, "critical,digitalSignature") && add(NID_ext_key_usage, "serverAuth") &&
         add_key_identifiers(certificate, issuer) && X509_sign(certificate, issuer.key, EVP_sha256()) > 0;
}

// A server certificate signed by `issuer`, or with its own key without one.
Result<TlsIdentity> make_server(const ServerCertificate& wanted, const Issuer* issuer) {
  ERR_clear_error();
  const KeyPtr key(EVP_EC_gen("P-256"));
  const CertificatePtr certificate(X509_new());
  if (!key || !certificate ||
      !fill_server(certificate.get(), key.get(), issuer ? *issuer : Issuer{certificate.get(), key.get()}, wanted)) {
    return fail(ErrorCode::kInvalid, "make a server certificate: " + take_openssl_error());
  }
  return make_identity(certificate_pem(certificate.get()), key_pem(key.get()),
                       {.certificate = "new certificate", .key = "new certificate's key"});
}

}  // namespace

Result<Authority> make_authority(const std::string& common_name, WallTime now, std::chrono::seconds lifetime) {
  ERR_clear_error();
  const KeyPtr key(EVP_EC_gen("P-256"));
  const CertificatePtr certificate(X509_new());
  const Issuer itself{certificate.get(), key.get()};
  const auto add = [&](int nid, const std::string& value) {
    return add_extension(certificate.get(), certificate.get(), nid, value);
  };
  if (!key || !certificate || !begin(certificate.get(), key.get(), itself, common_name) ||
      !set_times(certificate.get(), now, lifetime) || !add(NID_basic_constraints, "critical,CA:TRUE,pathlen:0") ||
      !add(NID_key_usage, "critical,keyCertSign,cRLSign") || !add_key_identifiers(certificate.get(), itself) ||
      X509_sign(certificate.get(), key.get(), EVP_sha256()) <= 0) {
    return fail(ErrorCode::kInvalid, "make a certificate authority: " + take_openssl_error());
  }
  return Authority{.certificate_pem = certificate_pem(certificate.get()), .private_key_pem = key_pem(key.get())};
}

Result<TlsIdentity> issue(const ServerCertificate& certificate, const Authority& authority) {
  const PemCertificates roots = read_pem_certificates(authority.certificate_pem);
  const PemKey key = read_pem_key(authority.private_key_pem);
  if (roots.certificates.empty() || !key.key) {
    return fail(ErrorCode::kInvalid, "the authority's certificate or key does not parse");
  }
  if (X509_check_private_key(roots.certificates.front().get(), key.key.get()) != 1) {
    ERR_clear_error();
    return fail(ErrorCode::kInvalid, "the authority's key does not belong to its certificate");
  }
  const Issuer issuer{roots.certificates.front().get(), key.key.get()};
  return make_server(certificate, &issuer);
}

Result<TlsIdentity> issue_self_signed(const ServerCertificate& certificate) {
  return make_server(certificate, nullptr);
}

}  // namespace sharder::certs
