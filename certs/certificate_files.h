#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/guarded.h"
#include "base/log.h"
#include "base/tls_identity.h"
#include "certs/folder_watch.h"
#include "certs/reload_pauses.h"

namespace prometheus {
class Registry;
}  // namespace prometheus

namespace sharder::certs {

struct CertificateFilesOptions {
  std::string server;  // the server's name, like "webhook": in log lines and as the metric's label
  std::filesystem::path folder;
  std::string certificate_name = "tls.crt";
  std::string key_name = "tls.key";
  // The files are read at least this often, besides after each change. When a pair is not good (only half of it is
  // swapped), it is read again after `retry`, then after twice that, and so on.
  std::chrono::milliseconds check_every{10'000};
  std::chrono::milliseconds retry{250};
};

// A server's certificate and key from two files, read again whenever they change: the folder is a mounted Secret, of
// which the kubelet swaps a symbolic link (docs/design.md, section 7). A new pair is published only when it is complete
// and good; until then the old one stays. A failure that is still there after the first retry is logged once.
//
// Metrics: controller_sharding_certificate_expiry_timestamp_seconds{server} of the published pair;
// certwatcher_read_certificate_total and certwatcher_read_certificate_errors_total, the names of controller-runtime,
// count readings of the files and those that gave no good pair.
//
// Owned by the program, outlives the servers that use identity(). start() once, then it works on a thread of its own.
class CertificateFiles {
 public:
  // `clock` and `registry` outlive it.
  CertificateFiles(CertificateFilesOptions options, const Clock& clock, prometheus::Registry& registry,
                   const Logger& log);
  ~CertificateFiles();
  CertificateFiles(const CertificateFiles&) = delete;
  CertificateFiles& operator=(const CertificateFiles&) = delete;

  // Whether both files exist. Without them the metrics port signs its own certificate.
  static bool present(const CertificateFilesOptions& options);
  // The pair as it is now. kInvalid names the file and what is wrong with it.
  [[nodiscard]] static Result<TlsIdentity> read(const CertificateFilesOptions& options);
  // The good pairs of the folder and of its subfolders, in this order. Others are logged.
  [[nodiscard]] static std::vector<TlsIdentity> read_all(const CertificateFilesOptions& options, const Logger& log);

  // Loads the pair and begins to watch the folder. kInvalid names the file and what is wrong with it.
  [[nodiscard]] Result<void> start();

  // Holds a pair after start() has succeeded. From any thread.
  const Published<TlsIdentity>& identity() const { return identity_; }

 private:
  struct Metrics;

  Result<TlsIdentity> read_pair();
  void publish(TlsIdentity pair);
  void warn_when_expired();
  // On the watch's thread. Returns the pause until the next check.
  std::chrono::milliseconds check();
  void on_good_pair(TlsIdentity pair);

  const CertificateFilesOptions options_;
  const Clock& clock_;
  Logger log_;
  const std::unique_ptr<Metrics> metrics_;
  Published<TlsIdentity> identity_;

  // Used by start() and then by the watch's thread alone.
  std::shared_ptr<const TlsIdentity> current_;
  bool expiry_reported_ = false;
  ReloadPauses pauses_;

  std::optional<FolderWatch> watch_;  // last: its thread ends before what it uses is gone
};

}  // namespace sharder::certs
