#include "certs/webhook_trust.h"

#include <algorithm>
#include <cstddef>
#include <vector>

#include "base/rfc3339.h"
#include "certs/x509.h"
#include "kube/codec/pem.h"

namespace sharder::certs {

namespace {

constexpr std::size_t kMaxNames = 8;  // that are quoted

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t i = 0; i < std::min(names.size(), kMaxNames); ++i) {
    text += (i == 0 ? "" : ", ") + names[i];
  }
  return names.empty() ? "no name" : names.size() > kMaxNames ? text + ", ..." : text;
}

Distrust not_for(const CertificateFacts& leaf, const std::string& host) {
  return {.reason = "NameNotCovered",
          .message = "the API server calls " + host + ", and the webhook's certificate is for " + joined(leaf.names) +
                     "; issue one that is also for " + host};
}

Distrust describe(ChainFault fault) {
  switch (fault) {
    case ChainFault::kNotYetValid:
      return {.reason = "CertificateNotYetValid",
              .message = "a certificate between the webhook's and the caBundle is not valid yet"};
    case ChainFault::kExpired:
      return {.reason = "CertificateExpired",
              .message = "a certificate of the CA has expired; renew the CA, and publish it as the caBundle"};
    case ChainFault::kNotForServers:
      return {
          .reason = "WrongPurpose",
          .message = "the webhook's certificate is not for servers; issue one with the extended key usage serverAuth"};
    case ChainFault::kUnreadable:
    case ChainFault::kUntrusted:
      break;
  }
  return {.reason = "CertificateNotTrusted",
          .message =
              "the caBundle does not trust the webhook's certificate; put the CA that issued the certificate into "
              "the caBundle (webhook.config.clientConfig.caBundle, or what injects it), or give the sharder a "
              "certificate of the caBundle's CA"};
}

}  // namespace

std::optional<Distrust> distrust(std::string_view chain_pem, std::string_view roots_pem, const std::string& host,
                                 WallTime now) {
  const auto chain = read_certificates(chain_pem);
  if (!chain) {
    return Distrust{.reason = "CertificateUnreadable", .message = "the webhook's certificate " + chain.error().message};
  }
  const CertificateFacts& leaf = chain->front();
  if (leaf.not_after <= now) {
    return Distrust{
        .reason = "CertificateExpired",
        .message = "the webhook's certificate has expired at " + format_time(leaf.not_after) + "; renew it"};
  }
  if (now < leaf.not_before) {
    return Distrust{.reason = "CertificateNotYetValid",
                    .message = "the webhook's certificate is valid from " + format_time(leaf.not_before) +
                               " on; compare the clocks of this machine and of the issuer"};
  }
  if (!covers(leaf.pem, host)) {
    return not_for(leaf, printable_name(host));
  }
  if (roots_pem.empty()) {
    return std::nullopt;
  }
  const auto roots = kube::read_ca_bundle(roots_pem);
  if (!roots) {
    return Distrust{.reason = "InvalidCABundle",
                    .message = "the caBundle is not usable: " + roots.error().message +
                               "; put the PEM certificate of the CA there that issued the webhook's certificate"};
  }
  const auto fault = chain_fault(chain_pem, roots->pem, now);
  return fault ? std::optional(describe(*fault)) : std::nullopt;
}

}  // namespace sharder::certs
