#include "certs/trusted_roots.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "kube/codec/pem.h"

namespace sharder::certs {

namespace {

// Those that can be read, as in Go.
std::vector<CertificateFacts> readable(std::string_view pem) {
  const auto bundle = kube::read_ca_bundle(pem);
  return bundle ? read_certificates(bundle->pem).value_or(std::vector<CertificateFacts>())
                : std::vector<CertificateFacts>();
}

bool contains(const std::vector<CertificateFacts>& roots, const CertificateFacts& root) {
  return std::ranges::find(roots, root.pem, &CertificateFacts::pem) != roots.end();
}

}  // namespace

void TrustedRoots::adopt(std::string_view bundle_pem) {
  keep(readable(bundle_pem));
  adopted_ = older_.size();
}

void TrustedRoots::show(std::string_view roots_pem, std::string_view chain_pem, WallTime wall, SteadyTime now) {
  std::vector<CertificateFacts> before = std::exchange(current_, readable(roots_pem));
  keep(std::move(before));
  std::erase_if(older_, [this](const CertificateFacts& root) { return contains(current_, root); });
  older_.resize(std::min(older_.size(), std::max(kMaxOlder, adopted_)));
  const bool verified = verifies(chain_pem, roots_pem, wall);
  if (chain_ != chain_pem || verified != verified_) {
    chain_ = chain_pem;
    verified_ = verified;
    shown_since_ = now;
  }
}

void TrustedRoots::keep(std::vector<CertificateFacts> roots) {
  std::erase_if(roots,
                [this](const CertificateFacts& root) { return contains(current_, root) || contains(older_, root); });
  older_.insert(older_.begin(), std::make_move_iterator(roots.begin()), std::make_move_iterator(roots.end()));
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
