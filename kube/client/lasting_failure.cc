#include "kube/client/lasting_failure.h"

#include <algorithm>

namespace sharder::kube {

namespace {

std::chrono::seconds patience(const Error& error) {
  const bool overloaded = error.http_status == 408 || error.http_status == 429;
  if (error.code == ErrorCode::kTimeout || overloaded) {
    return LastingFailure::kOfDelay;
  }
  return error.code == ErrorCode::kUnavailable ? LastingFailure::kOfFailure : LastingFailure::kOfPermanent;
}

}  // namespace

bool LastingFailure::counts(const Error& error) {
  switch (error.code) {
    case ErrorCode::kConflict:
    case ErrorCode::kExists:
    case ErrorCode::kGone:
    case ErrorCode::kCancelled:
      return false;
    default:
      return !is_outage(error);
  }
}

bool LastingFailure::failed(const Error& error, SteadyTime now) {
  if (is_outage(error) && !lasting_) {
    since_.reset();
  }
  if (!counts(error)) {
    return false;
  }
  const FailureKind reason = failure_kind(error);
  if (!since_) {
    since_ = now;
    returns_ = over_ && now - *over_ < kSoon ? returns_ : 0;
  }
  if (reason_ != reason) {
    reason_ = reason;
    reason_since_ = now;
  }
  const SteadyTime begin = lasting_ ? reason_since_ : *since_;
  if (lasting_ == reason || now - begin < patience(error) * (1 << returns_)) {
    return false;
  }
  lasting_ = reason;
  return true;
}

bool LastingFailure::succeeded(SteadyTime now) {
  const bool was_lasting = lasting_.has_value();
  if (was_lasting || (pending() && returns_ > 0)) {
    over_ = now;
  }
  if (was_lasting) {
    returns_ = std::min(returns_ + 1, kMaxReturns);
  }
  since_.reset();
  lasting_.reset();
  return was_lasting;
}

}  // namespace sharder::kube
