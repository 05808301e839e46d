#include "certs/self_managed.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/rfc3339.h"
#include "certs/x509.h"

namespace sharder::certs {

namespace {

constexpr const char* kAuthorityName = "sharder webhook CA";

// The first certificate of a text, nullopt when the text does not parse.
std::optional<CertificateFacts> first(std::string_view pem) {
  auto found = read_certificates(pem);
  return found ? std::optional(std::move(found->front())) : std::nullopt;
}

bool is_due(const CertificateFacts& certificate, std::chrono::seconds lifetime, WallTime now) {
  return certificate.not_after - now <= lifetime / 3;
}

bool has_names(const CertificateFacts& certificate, const ServerCertificate& wanted) {
  std::vector<std::string> names = wanted.dns_names;
  names.insert(names.end(), wanted.ip_addresses.begin(), wanted.ip_addresses.end());
  return std::ranges::equal(certificate.names, names, {}, {}, printable_name);
}

// Why the authority has to be replaced, "" when it serves.
std::string authority_problem(const ServingSecret& secret, WallTime now) {
  const auto root = first(secret.roots_pem);
  if (!root) {
    return "its ca.crt is missing or damaged";
  }
  if (!belong_together(secret.roots_pem, secret.root_key_pem)) {
    return "its ca.key is missing, damaged or another's";
  }
  if (root->not_before > now) {  // made by a clock that was ahead
    return "the CA is not valid yet";
  }
  return is_due(*root, kAuthorityLifetime, now) ? "the CA expires at " + format_time(root->not_after) : "";
}

// Why the serving certificate has to be replaced, "" when it serves.
std::string certificate_problem(const ServingSecret& secret, const ServerCertificate& wanted, WallTime now) {
  const auto leaf = first(secret.certificate_pem);
  if (!leaf) {
    return "its tls.crt is missing or damaged";
  }
  if (!belong_together(secret.certificate_pem, secret.private_key_pem)) {
    return "its tls.key is missing, damaged or another's";
  }
  if (!verifies(secret.certificate_pem, first(secret.roots_pem)->pem, std::min(now, leaf->not_after))) {
    return "its certificate is not of its CA";
  }
  if (!has_names(*leaf, wanted)) {
    return "the webhook has other names";
  }
  return is_due(*leaf, kServerLifetime, now) ? "the certificate expires at " + format_time(leaf->not_after) : "";
}

bool lacks_value(const ServingSecret& secret) {
  return secret.certificate_pem.empty() || secret.private_key_pem.empty() || secret.roots_pem.empty() ||
         secret.root_key_pem.empty();
}

// The new root first, then the older ones that have not expired.
std::string with_older_roots(std::string roots, std::string_view older_pem, WallTime now) {
  if (const auto older = read_certificates(older_pem)) {
    for (const CertificateFacts& root : *older) {
      roots += root.not_after > now ? root.pem : "";
    }
  }
  return roots;
}

Result<void> renew_authority(ServingSecret& secret, WallTime now) {
  auto authority = make_authority(kAuthorityName, now, kAuthorityLifetime);
  if (!authority) {
    return std::unexpected(std::move(authority.error()));
  }
  secret.roots_pem = with_older_roots(authority->certificate_pem, secret.roots_pem, now);
  secret.root_key_pem = std::move(authority->private_key_pem);
  return {};
}

Result<void> renew_certificate(ServingSecret& secret, ServerCertificate wanted, WallTime now) {
  wanted.now = now;
  wanted.lifetime = kServerLifetime;
  auto issued =
      issue(wanted, {.certificate_pem = first(secret.roots_pem)->pem, .private_key_pem = secret.root_key_pem});
  if (!issued) {
    return std::unexpected(std::move(issued.error()));
  }
  secret.certificate_pem = std::move(issued->certificate_chain_pem);
  secret.private_key_pem = std::move(issued->private_key_pem);
  return {};
}

// Renews what has a problem. When the authority cannot issue a certificate that serves, it is renewed too.
Result<void> renew(ServingSecret& secret, const ServerCertificate& wanted, WallTime now) {
  bool of_new_authority = !authority_problem(secret, now).empty();
  if (!of_new_authority && !certificate_problem(secret, wanted, now).empty()) {
    of_new_authority = !renew_certificate(secret, wanted, now) || !certificate_problem(secret, wanted, now).empty();
  }
  if (!of_new_authority) {
    return {};
  }
  if (auto renewed = renew_authority(secret, now); !renewed) {
    return renewed;
  }
  if (auto renewed = renew_certificate(secret, wanted, now); !renewed) {
    return renewed;
  }
  const std::string problem = certificate_problem(secret, wanted, now);
  return problem.empty() ? Result<void>() : fail(ErrorCode::kInvalid, "a new certificate does not serve: " + problem);
}

}  // namespace

bool is_good(const ServingSecret& secret, WallTime now) {
  return belong_together(secret.roots_pem, secret.root_key_pem) &&
         belong_together(secret.certificate_pem, secret.private_key_pem) &&
         verifies(secret.certificate_pem, secret.roots_pem, now);
}

Result<std::optional<SecretChange>> next_secret(const ServingSecret& shown, const ServingSecret* remembered,
                                                const ServerCertificate& wanted, WallTime now) {
  SecretChange change{.secret = shown, .reason = {}};
  const bool exists = !shown.resource_version.empty();
  std::string problem = exists ? authority_problem(shown, now) : "it does not exist";
  if (problem.empty()) {
    problem = certificate_problem(shown, wanted, now);
  }
  if (problem.empty()) {
    return std::nullopt;
  }
  change.reason = std::move(problem);
  const bool is_damaged = !exists || (!lacks_value(shown) && !is_good(shown, now));
  if (is_damaged && remembered != nullptr && is_good(*remembered, now)) {
    change.secret = *remembered;
    change.secret.resource_version = shown.resource_version;
  }
  if (auto renewed = renew(change.secret, wanted, now); !renewed) {
    return std::unexpected(std::move(renewed.error()));
  }
  return std::optional(std::move(change));
}

}  // namespace sharder::certs
