#include "kube/access/tls_files.h"

#include <utility>

#include "base/read_file.h"
#include "kube/codec/pem.h"

namespace sharder::kube {

TlsFiles::TlsFiles(const ClusterConfig& config, Logger log)
    : ca_file_(config.insecure_skip_tls_verify ? "" : config.ca_file),
      certificate_file_(config.client_certificate_file),
      key_file_(config.client_key_file),
      material_{.ca_pem = config.ca_pem,
                .insecure = config.insecure_skip_tls_verify,
                .client_certificate_pem = config.client_certificate_pem,
                .client_key_pem = config.client_key_pem},
      log_(std::move(log)) {}

Result<TlsFiles> TlsFiles::load(const ClusterConfig& config, Logger log) {
  TlsFiles files(config, std::move(log));
  auto material = files.read();
  if (!material) {
    return std::unexpected(std::move(material.error()));
  }
  files.material_ = *std::move(material);
  return files;
}

Result<TlsMaterial> TlsFiles::read() const {
  TlsMaterial next = material_;
  for (const auto& [file, text] :
       {std::pair(&ca_file_, &next.ca_pem), std::pair(&certificate_file_, &next.client_certificate_pem),
        std::pair(&key_file_, &next.client_key_pem)}) {
    if (!file->empty()) {
      auto content = read_file(*file);
      if (!content) {
        return std::unexpected(std::move(content.error()));
      }
      *text = *std::move(content);
    }
  }
  if (!next.ca_pem.empty() && !next.insecure) {
    auto bundle = read_ca_bundle(next.ca_pem);
    if (!bundle) {
      return fail(ca_file_.empty() ? "certificate authority" : ca_file_, bundle.error());
    }
    if (bundle->damaged > 0 && bundle->pem != material_.ca_pem) {
      log_.warn("damaged certificates of the authority are left out",
                {{"source", ca_file_.empty() ? "configuration" : ca_file_}, {"damaged", bundle->damaged}});
    }
    next.ca_pem = std::move(bundle->pem);
  }
  if (!next.client_certificate_pem.empty() || !next.client_key_pem.empty()) {
    if (const auto checked = check_key_pair(next.client_certificate_pem, next.client_key_pem); !checked) {
      return fail(certificate_file_.empty() ? "client certificate" : certificate_file_, checked.error());
    }
  }
  return next;
}

bool TlsFiles::refresh(SteadyTime now, bool force) {
  const bool any = !ca_file_.empty() || !certificate_file_.empty() || !key_file_.empty();
  if (!any || (!force && now - read_at_ < kAge)) {
    return false;
  }
  read_at_ = now;
  auto next = read();
  if (!next) {
    if (std::exchange(last_problem_, next.error().message) != next.error().message) {
      log_.warn("certificates not read again, the old ones stay", {{"error", next.error().message}});
    }
    return false;
  }
  last_problem_.clear();
  if (*next == material_) {
    return false;
  }
  material_ = *std::move(next);
  log_.info("certificates of the API client changed");
  return true;
}

}  // namespace sharder::kube
