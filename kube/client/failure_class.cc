#include "kube/client/failure_class.h"

namespace sharder::kube {

bool is_outage(const Error& error) {
  return error.code == ErrorCode::kUnavailable && error.http_status == 0;
}

bool is_unanswered(const Error& error) {
  return (error.code == ErrorCode::kTimeout && error.http_status == 0) || is_outage(error);
}

bool may_be_done(const Error& error) {
  return error.code == ErrorCode::kUnavailable || error.code == ErrorCode::kTimeout ||
         error.code == ErrorCode::kCancelled;
}

bool is_permanent(const Error& error) {
  switch (error.code) {
    case ErrorCode::kInvalid:
    case ErrorCode::kNotFound:
    case ErrorCode::kForbidden:
    case ErrorCode::kUnauthorized:
    case ErrorCode::kTooLarge:
      return true;
    default:
      return false;
  }
}

bool is_request_too_large(const Error& error) {
  return error.http_status == 414 || error.http_status == 431;
}

FailureKind failure_kind(const Error& error) {
  return {error.code, error.http_status};
}

bool is_alike(const Error& one, const Error& other) {
  return failure_kind(one) == failure_kind(other);
}

}  // namespace sharder::kube
