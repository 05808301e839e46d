#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>

#include "base/log.h"

namespace sharder::certs {

// Calls a function again and again on a thread of its own: at once, whenever something in the folder changes (inotify),
// and after the pause that the last call returned. The pause is needed because some file systems have no inotify, and
// files behind symbolic links have none either. The folder may be missing or replaced; it is watched from the next call
// on. Every call sees all changes that were made before it began. The destructor waits for a call that is under way.
class FolderWatch {
 public:
  // Returns the longest pause until the next call.
  using Check = std::function<std::chrono::milliseconds()>;

  FolderWatch(std::filesystem::path folder, std::string thread_name, Check check, Logger log);
  ~FolderWatch();
  FolderWatch(const FolderWatch&) = delete;
  FolderWatch& operator=(const FolderWatch&) = delete;

 private:
  class Notifier;
  void run(const std::stop_token& stop);

  const std::filesystem::path folder_;
  const std::string thread_name_;
  const Check check_;
  Logger log_;
  const int stop_event_;  // an eventfd, readable once the thread must end
  std::jthread thread_;
};

}  // namespace sharder::certs
