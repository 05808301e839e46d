#pragma once

#include <chrono>
#include <exception>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace sharder {

// Named by what the caller does next.
enum class ErrorCode {
  kInvalid,       // give up: the input is wrong and stays wrong (400, 415, 422, a bad file)
  kNotFound,      // it is not there: 404
  kExists,        // somebody else made it: 409 AlreadyExists
  kConflict,      // read this object again and decide anew: 409 Conflict, a failed precondition
  kGone,          // list anew: 410, an expired continue token or resourceVersion
  kUnauthorized,  // renew the credentials: 401
  kForbidden,     // warn and back off: 403
  kTooLarge,      // ask for less: 413, 414, 431
  kUnavailable,   // back off and try again: 429, 5xx, no connection
  kTimeout,       // back off and try again: a deadline of ours passed; the request may have taken effect
  kCancelled,     // nothing: we stopped waiting ourselves
};

std::string_view to_string(ErrorCode code);

// What went wrong, for the caller (code) and for a person (message). A layer prefixes the message with what it was
// doing: "list leases: GET /apis/...: 503 Service Unavailable".
struct Error {
  ErrorCode code = ErrorCode::kInvalid;
  std::string message;
  int http_status = 0;                                   // 0: no HTTP answer
  std::string reason = {};                               // metav1.Status reason, "" when there is none
  std::optional<std::chrono::seconds> retry_after = {};  // Retry-After of a 429 or 503
  // Of a 410 within a list in pages: it continues after the last page, with the objects as they are now.
  std::string continue_token = {};
};

template <class T>
using Result = std::expected<T, Error>;

inline std::unexpected<Error> fail(ErrorCode code, std::string message) {
  return std::unexpected(Error{.code = code, .message = std::move(message)});
}

// The error of a lower layer, with "<context>: " before its message.
inline std::unexpected<Error> fail(std::string_view context, Error error) {
  error.message.insert(0, std::string(context) + ": ");
  return std::unexpected(std::move(error));
}

// The text of an exception that may be shown anywhere: what() for exceptions of the standard library, for all others
// only the name of the type. The text of a parser quotes its input, which may be a kubeconfig, a token or a Secret.
std::string exception_text(const std::exception& exception);

}  // namespace sharder
