#include "base/error.h"

#include <doctest/doctest.h>

#include <array>
#include <set>
#include <stdexcept>
#include <system_error>

using namespace sharder;

namespace {

struct ParserError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace

TEST_CASE("each code has a name of its own") {
  constexpr std::array kCodes{ErrorCode::kInvalid,   ErrorCode::kNotFound, ErrorCode::kExists,
                              ErrorCode::kConflict,  ErrorCode::kGone,     ErrorCode::kUnauthorized,
                              ErrorCode::kForbidden, ErrorCode::kTooLarge, ErrorCode::kUnavailable,
                              ErrorCode::kTimeout,   ErrorCode::kCancelled};
  std::set<std::string_view> names;
  for (const ErrorCode code : kCodes) {
    names.insert(to_string(code));
  }
  CHECK(names.size() == kCodes.size());
  CHECK_FALSE(names.contains("unknown"));
  CHECK(to_string(static_cast<ErrorCode>(999)) == "unknown");
}

TEST_CASE("a layer says what it was doing and keeps everything else of the error") {
  const Error lower{.code = ErrorCode::kUnavailable,
                    .message = "GET /apis: 503",
                    .http_status = 503,
                    .reason = "ServiceUnavailable",
                    .retry_after = std::chrono::seconds(3)};
  const Result<int> result = fail("list leases", lower);
  REQUIRE_FALSE(result);
  CHECK(result.error().message == "list leases: GET /apis: 503");
  CHECK(result.error().code == ErrorCode::kUnavailable);
  CHECK(result.error().http_status == 503);
  CHECK(result.error().reason == "ServiceUnavailable");
  CHECK(result.error().retry_after == std::chrono::seconds(3));
}

TEST_CASE("a new error has code and message, and no HTTP answer") {
  const Result<void> result = fail(ErrorCode::kGone, "expired");
  REQUIRE_FALSE(result);
  CHECK(result.error().code == ErrorCode::kGone);
  CHECK(result.error().message == "expired");
  CHECK(result.error().http_status == 0);
  CHECK(result.error().reason.empty());
  CHECK_FALSE(result.error().retry_after);
}

TEST_CASE("of an exception that is not the standard library's only the type is told (design, 6.12)") {
  CHECK(exception_text(ParserError("unexpected 'secret'")) == "(anonymous namespace)::ParserError");
  CHECK(exception_text(std::runtime_error("out of ideas")) == "out of ideas");
  CHECK(exception_text(std::system_error(2, std::generic_category(), "epoll")) == "epoll: No such file or directory");
}
