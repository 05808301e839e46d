#include "kube/client/lasting_failure.h"

#include <algorithm>

namespace sharder::kube {

namespace {

// Everyday life: somebody else was faster, or we stopped waiting.
bool is_failure(ErrorCode code) {
  return code != ErrorCode::kConflict && code != ErrorCode::kExists && code != ErrorCode::kGone &&
         code != ErrorCode::kCancelled;
}

std::chrono::seconds patience(const Error& error) {
  const bool overloaded = error.http_status == 408 || error.http_status == 429;
  if (error.code == ErrorCode::kTimeout || overloaded) {
    return LastingFailure::kOfDelay;
  }
  return error.code == ErrorCode::kUnavailable ? LastingFailure::kOfFailure : LastingFailure::kOfRefusal;
}

}  // namespace

bool LastingFailure::failed(const Error& error, SteadyTime now) {
  if (is_outage(error) && !told_) {
    since_.reset();
  }
  if (is_outage(error) || !is_failure(error.code)) {
    return false;
  }
  const Reason reason{error.code, error.http_status};
  if (!since_) {
    since_ = now;
    returns_ = over_ && now - *over_ < kSoon ? returns_ : 0;
  }
  if (reason_ != reason) {
    reason_ = reason;
    reason_since_ = now;
  }
  const SteadyTime begin = told_ ? reason_since_ : *since_;
  if (told_ == reason || now - begin < patience(error) * (1 << returns_)) {
    return false;
  }
  told_ = reason;
  return true;
}

bool LastingFailure::succeeded(SteadyTime now) {
  const bool was_told = told_.has_value();
  if (was_told || (pending() && returns_ > 0)) {
    over_ = now;
  }
  if (was_told) {
    returns_ = std::min(returns_ + 1, kMaxReturns);
  }
  since_.reset();
  told_.reset();
  return was_told;
}

}  // namespace sharder::kube
