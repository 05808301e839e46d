#pragma once

#include <chrono>
#include <filesystem>
#include <fstream>
#include <mutex>

#include "tests/apiserver/request.h"

namespace sharder::apiserver {

// One JSON line per finished request, in the words of audit.k8s.io/v1. Safe from any thread.
class AuditLog {
 public:
  // Appends to the file. Throws std::runtime_error when it cannot be opened.
  explicit AuditLog(const std::filesystem::path& file);

  void write(const Request& request, int code, std::chrono::system_clock::time_point received);

 private:
  std::mutex mutex_;
  std::ofstream file_;
};

}  // namespace sharder::apiserver
