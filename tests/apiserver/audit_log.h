#pragma once

#include <chrono>
#include <filesystem>
#include <fstream>
#include <mutex>

#include "tests/apiserver/request.h"

namespace sharder::apiserver {

enum class AuditLevel {
  kMetadata,
  kRequestResponse,  // writes have requestObject and responseObject too; an answer only where it is JSON
};

// One JSON line per finished request, in the words of audit.k8s.io/v1. Safe from any thread.
class AuditLog {
 public:
  // Appends to the file. Throws std::runtime_error when it cannot be opened.
  AuditLog(const std::filesystem::path& file, AuditLevel level);

  // `answer`: the body of the answer, "" for a watch.
  void write(const Request& request, int code, const std::string& answer,
             std::chrono::system_clock::time_point received);

 private:
  const AuditLevel level_;
  std::mutex mutex_;
  std::ofstream file_;
};

}  // namespace sharder::apiserver
