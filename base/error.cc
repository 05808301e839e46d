#include "base/error.h"

#include <cxxabi.h>

#include <cstdlib>
#include <memory>
#include <typeinfo>

#include "base/delete_with.h"

namespace sharder {

std::string_view to_string(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalid:
      return "invalid";
    case ErrorCode::kNotFound:
      return "not found";
    case ErrorCode::kExists:
      return "already exists";
    case ErrorCode::kConflict:
      return "conflict";
    case ErrorCode::kGone:
      return "gone";
    case ErrorCode::kUnauthorized:
      return "unauthorized";
    case ErrorCode::kForbidden:
      return "forbidden";
    case ErrorCode::kTooLarge:
      return "too large";
    case ErrorCode::kUnavailable:
      return "unavailable";
    case ErrorCode::kTimeout:
      return "timeout";
    case ErrorCode::kCancelled:
      return "cancelled";
  }
  return "unknown";
}

std::string exception_text(const std::exception& exception) {
  const char* const mangled = typeid(exception).name();
  const std::unique_ptr<char, DeleteWith<std::free>> name(abi::__cxa_demangle(mangled, nullptr, nullptr, nullptr));
  std::string type = name ? name.get() : mangled;
  return type.starts_with("std::") ? exception.what() : type;
}

}  // namespace sharder
