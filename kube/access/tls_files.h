#pragma once

#include <chrono>
#include <string>

#include "base/clock.h"
#include "base/log.h"
#include "kube/access/config.h"

namespace sharder::kube {

// The certificates that TLS connections trust and show: PEM texts that were checked before (kube/codec/pem.h).
struct TlsMaterial {
  std::string ca_pem;  // "": the system's roots
  bool insecure = false;
  std::string client_certificate_pem, client_key_pem;
  bool operator==(const TlsMaterial&) const = default;
};

// Certificates that a configuration trusts and shows, read again when their files change. Owned by the API loop.
class TlsFiles {
 public:
  static constexpr std::chrono::seconds kAge{60};  // how often it looks

  // Reads the files that the configuration names, and checks everything. kInvalid: which one is wrong, and why.
  static Result<TlsFiles> load(const ClusterConfig& config, Logger log);

  // Reads the files again when the last time was kAge ago or `force`. True when something changed. If a file is
  // unreadable, damaged or (half of a swap) does not match, everything stays as it was.
  bool refresh(SteadyTime now, bool force = false);

  const TlsMaterial& material() const { return material_; }

 private:
  TlsFiles(const ClusterConfig& config, Logger log);
  Result<TlsMaterial> read() const;

  std::string ca_file_, certificate_file_, key_file_;
  TlsMaterial material_;
  Logger log_;
  SteadyTime read_at_ = std::chrono::steady_clock::now();
  std::string last_problem_;  // logged already
};

}  // namespace sharder::kube
