#pragma once

#include <chrono>
#include <string>
#include <utility>

#include "base/backoff.h"

namespace sharder::certs {

// When watched files are read again, and which failures are logged: one that is still there after the first retry,
// once. Before that, it looks like a swap of files that is under way. Owned by the watch's thread.
class ReloadPauses {
 public:
  // Good files are read every `check_every`, besides after each change; others after `retry`, then after twice that,
  // and so on.
  ReloadPauses(std::chrono::milliseconds check_every, std::chrono::milliseconds retry)
      : check_every_(check_every), retry_({.initial = retry, .max = check_every}) {}

  // The files are good. True: a failure that was logged is over.
  bool succeeded() {
    retry_.reset();
    failure_.clear();
    return std::exchange(logged_, false);
  }
  // They are not. True: log it now.
  bool failed(const std::string& failure) {
    if (failure != failure_) {
      failure_ = failure;
      logged_ = false;
      retry_.reset();
      return false;
    }
    return !std::exchange(logged_, true);
  }
  // Until the next reading.
  std::chrono::milliseconds pause() { return failure_.empty() ? check_every_ : retry_.next(); }

 private:
  const std::chrono::milliseconds check_every_;
  Backoff retry_;
  std::string failure_;  // of the last reading, "" when it was good
  bool logged_ = false;
};

}  // namespace sharder::certs
