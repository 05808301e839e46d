#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/guarded.h"
#include "base/log.h"
#include "certs/folder_watch.h"
#include "certs/reload_pauses.h"

namespace prometheus {
class Registry;
}  // namespace prometheus

namespace sharder::certs {

struct ReadCounters;

struct ClientCaFileOptions {
  std::filesystem::path file;
  // As in CertificateFilesOptions.
  std::chrono::milliseconds check_every{10'000};
  std::chrono::milliseconds retry{250};
};

// The authorities whose certificates the webhook's clients must show (design, invariant 14), from a PEM file that is
// read again whenever it changes. A file that is missing, holds no certificate, or holds a damaged one changes nothing;
// that is logged once when it is still so after the first retry.
//
// Metrics: certwatcher_read_certificate_total and certwatcher_read_certificate_errors_total, as of CertificateFiles.
//
// Owned by the program, outlives the server that uses authorities(). start() once, then it works on a thread of its
// own.
class ClientCaFile {
 public:
  // `registry` outlives it.
  ClientCaFile(ClientCaFileOptions options, prometheus::Registry& registry, const Logger& log);
  ~ClientCaFile();
  ClientCaFile(const ClientCaFile&) = delete;
  ClientCaFile& operator=(const ClientCaFile&) = delete;

  // Loads the file and begins to watch its folder. kInvalid names the file and what is wrong with it.
  [[nodiscard]] Result<void> start();

  // PEM; holds a value after start() has succeeded. From any thread.
  const Published<std::string>& authorities() const { return authorities_; }

 private:
  Result<std::string> read();
  void publish(std::string pem);
  // On the watch's thread. Returns the pause until the next check.
  std::chrono::milliseconds check();

  const ClientCaFileOptions options_;
  const Logger log_;
  const std::unique_ptr<ReadCounters> counters_;
  Published<std::string> authorities_;

  // Used by start() and then by the watch's thread alone.
  std::string current_;
  ReloadPauses pauses_;

  std::optional<FolderWatch> watch_;  // last: its thread ends before what it uses is gone
};

}  // namespace sharder::certs
