#pragma once

#include <algorithm>

#include "base/error.h"

namespace sharder::ctl {

// How the program ends: the numbers are part of its interface (docs/sharderctl.md). A greater one is worse: it says
// that the program knows less.
enum class ExitCode {
  kOk = 0,
  kFindings = 1,    // something is not as it ought to be
  kUsage = 2,       // flags, names, a file or the kubeconfig: the caller has to change something
  kNotAllowed = 3,  // credentials or RBAC; the message names verb and resource
  kTimeout = 124,   // the API server did not answer, or what was waited for did not come, in time
};

constexpr ExitCode worse(ExitCode a, ExitCode b) {
  return std::max(a, b);
}

// What a failed request means for the caller of the program.
constexpr ExitCode exit_code_of(const Error& error) {
  switch (error.code) {
    case ErrorCode::kUnauthorized:
    case ErrorCode::kForbidden:
      return ExitCode::kNotAllowed;
    case ErrorCode::kUnavailable:
    case ErrorCode::kTimeout:
    case ErrorCode::kCancelled:
      return ExitCode::kTimeout;
    case ErrorCode::kConflict:
    case ErrorCode::kExists:
    case ErrorCode::kGone:
      return ExitCode::kFindings;
    case ErrorCode::kInvalid:
    case ErrorCode::kNotFound:
    case ErrorCode::kTooLarge:
      return ExitCode::kUsage;
  }
  return ExitCode::kUsage;
}

}  // namespace sharder::ctl
