#include "certs/trusted_roots.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace sharder::certs {

namespace {

bool contains(const std::vector<CertificateFacts>& roots, const CertificateFacts& root) {
  return std::ranges::find(roots, root.pem, &CertificateFacts::pem) != roots.end();
}

}  // namespace

void TrustedRoots::adopt(std::string_view bundle_pem) {
  if (auto roots = read_certificates(bundle_pem)) {
    keep(std::move(*roots));
  }
}

void TrustedRoots::show(std::string_view roots_pem, std::string_view chain_pem, WallTime wall, SteadyTime now) {
  std::vector<CertificateFacts> roots = read_certificates(roots_pem).value_or(std::vector<CertificateFacts>());
  std::vector<CertificateFacts> before = std::exchange(current_, std::move(roots));
  keep(std::move(before));
  std::erase_if(older_, [this](const CertificateFacts& root) { return contains(current_, root); });
  const bool verified = verifies(chain_pem, roots_pem, wall);
  if (chain_ != chain_pem || verified != verified_) {
    chain_ = chain_pem;
    verified_ = verified;
    shown_since_ = now;
  }
}

void TrustedRoots::keep(std::vector<CertificateFacts> roots) {
  for (CertificateFacts& root : roots) {
    if (!contains(current_, root) && !contains(older_, root)) {
      older_.push_back(std::move(root));
    }
  }
  std::ranges::sort(older_, std::ranges::greater(),
                    [](const CertificateFacts& root) { return std::tie(root.not_before, root.pem); });
  older_.resize(std::min(older_.size(), kMaxOlder));
}

std::string TrustedRoots::bundle(WallTime wall, SteadyTime now) {
  if (verified_ && now - shown_since_ >= kOverlap) {
    older_.clear();
  }
  std::erase_if(older_, [wall](const CertificateFacts& root) { return root.not_after <= wall; });
  std::string text;
  for (const std::vector<CertificateFacts>* roots : {&current_, &older_}) {
    for (const CertificateFacts& root : *roots) {
      text += root.pem;
    }
  }
  return text;
}

}  // namespace sharder::certs
