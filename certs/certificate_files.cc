#include "certs/certificate_files.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include "base/read_file.h"
#include "base/rfc3339.h"
#include "certs/expiry_gauge.h"
#include "certs/read_counters.h"
#include "certs/x509.h"

namespace sharder::certs {
namespace {

Result<TlsIdentity> read_identity(const std::filesystem::path& certificate, const std::filesystem::path& key) {
  auto chain_pem = read_file(certificate);
  if (!chain_pem) {
    return std::unexpected(std::move(chain_pem.error()));
  }
  auto key_pem = read_file(key);
  if (!key_pem) {
    return std::unexpected(std::move(key_pem.error()));
  }
  return make_identity(std::move(*chain_pem), std::move(*key_pem),
                       {.certificate = certificate.string(), .key = key.string()});
}

// The folder and its subfolders, but not those in which the kubelet keeps the versions of a volume ("..data").
std::vector<std::filesystem::path> with_subfolders(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> found;
  std::error_code failed;
  for (auto entry = std::filesystem::directory_iterator(folder, failed); !failed && entry != end(entry);
       entry.increment(failed)) {
    std::error_code ignored;
    if (!entry->path().filename().string().starts_with("..") && entry->is_directory(ignored)) {
      found.push_back(entry->path());
    }
  }
  std::ranges::sort(found);
  found.insert(found.begin(), folder);
  return found;
}

}  // namespace

// Handles into the registry.
struct CertificateFiles::Metrics {
  Metrics(prometheus::Registry& registry, const std::string& server)
      : expiry(expiry_gauge(registry, server)), reads(registry) {}

  prometheus::Gauge& expiry;
  ReadCounters reads;
};

CertificateFiles::CertificateFiles(CertificateFilesOptions options, const Clock& clock, prometheus::Registry& registry,
                                   const Logger& log)
    : options_(std::move(options)),
      clock_(clock),
      log_(log.named("certs").with({{"server", options_.server}})),
      metrics_(std::make_unique<Metrics>(registry, options_.server)),
      pauses_(options_.check_every, options_.retry) {}

CertificateFiles::~CertificateFiles() = default;

bool CertificateFiles::present(const CertificateFilesOptions& options) {
  std::error_code ignored;
  return std::filesystem::exists(options.folder / options.certificate_name, ignored) &&
         std::filesystem::exists(options.folder / options.key_name, ignored);
}

Result<TlsIdentity> CertificateFiles::read(const CertificateFilesOptions& options) {
  return read_identity(options.folder / options.certificate_name, options.folder / options.key_name);
}

std::vector<TlsIdentity> CertificateFiles::read_all(const CertificateFilesOptions& options, const Logger& log) {
  std::vector<TlsIdentity> found;
  CertificateFilesOptions of_folder = options;
  for (const std::filesystem::path& folder : with_subfolders(options.folder)) {
    of_folder.folder = folder;
    if (!present(of_folder)) {
      continue;
    }
    if (auto pair = read(of_folder)) {
      found.push_back(std::move(*pair));
    } else {
      log.warn("certificate files are not used", {{"error", pair.error().message}});
    }
  }
  return found;
}

Result<void> CertificateFiles::start() {
  auto pair = read_pair();
  if (!pair) {
    pair = read_pair();  // once more: the files may have been swapped between the two readings
  }
  if (!pair) {
    return std::unexpected(std::move(pair.error()));
  }
  publish(std::move(*pair));
  warn_when_expired();
  watch_.emplace(options_.folder, "certs-" + options_.server, [this] { return check(); }, log_);
  return {};
}

Result<TlsIdentity> CertificateFiles::read_pair() {
  auto pair = read(options_);
  metrics_->reads.count(pair.has_value());
  return pair;
}

void CertificateFiles::publish(TlsIdentity pair) {
  current_ = std::make_shared<const TlsIdentity>(std::move(pair));
  identity_.publish(current_);
  metrics_->expiry.Set(unix_seconds(current_->not_after));
  expiry_reported_ = false;
  log_.info("certificate loaded",
            {{"folder", options_.folder.string()}, {"not_after", format_time(current_->not_after)}});
}

void CertificateFiles::warn_when_expired() {
  if (!expiry_reported_ && clock_.wall() >= current_->not_after) {
    expiry_reported_ = true;
    log_.warn("certificate has expired, clients will not accept it", {{"folder", options_.folder.string()}});
  }
}

std::chrono::milliseconds CertificateFiles::check() {
  auto pair = read_pair();
  if (pair) {
    on_good_pair(std::move(*pair));
  } else if (pauses_.failed(pair.error().message)) {
    log_.warn("certificate not reloaded, the old one stays", {{"error", pair.error().message}});
  }
  warn_when_expired();
  return pauses_.pause();
}

void CertificateFiles::on_good_pair(TlsIdentity pair) {
  const bool was_logged = pauses_.succeeded();
  if (pair.certificate_chain_pem != current_->certificate_chain_pem ||
      pair.private_key_pem != current_->private_key_pem) {
    publish(std::move(pair));
  } else if (was_logged) {
    log_.info("certificate files are good again", {{"folder", options_.folder.string()}});
  }
}

}  // namespace sharder::certs
