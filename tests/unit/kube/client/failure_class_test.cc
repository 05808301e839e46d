#include "kube/client/failure_class.h"

#include <doctest/doctest.h>

namespace sharder::kube {
namespace {

Error error(ErrorCode code, int http_status = 0) {
  return {.code = code, .message = "m", .http_status = http_status};
}

TEST_CASE("an outage is no connection; without an answer is that, or none in time") {
  CHECK(is_outage(error(ErrorCode::kUnavailable)));
  CHECK_FALSE(is_outage(error(ErrorCode::kUnavailable, 503)));
  CHECK_FALSE(is_outage(error(ErrorCode::kTimeout)));
  CHECK(is_unanswered(error(ErrorCode::kTimeout)));
  CHECK(is_unanswered(error(ErrorCode::kUnavailable)));
  CHECK_FALSE(is_unanswered(error(ErrorCode::kUnavailable, 503)));
}

TEST_CASE("what the server rejected was certainly not done, what it failed at may be") {
  for (const auto code : {ErrorCode::kUnavailable, ErrorCode::kTimeout, ErrorCode::kCancelled}) {
    CHECK(may_be_done(error(code)));
    CHECK_FALSE(is_permanent(error(code)));
  }
  for (const auto code : {ErrorCode::kExists, ErrorCode::kConflict, ErrorCode::kGone}) {
    CHECK_FALSE(may_be_done(error(code)));
    CHECK_FALSE(is_permanent(error(code)));  // it passes by itself, or by reading anew
  }
  for (const auto code : {ErrorCode::kInvalid, ErrorCode::kNotFound, ErrorCode::kForbidden, ErrorCode::kUnauthorized,
                          ErrorCode::kTooLarge}) {
    CHECK_FALSE(may_be_done(error(code)));
    CHECK(is_permanent(error(code)));
  }
}

TEST_CASE("a request may be too large, other than an answer or a body") {
  CHECK(is_request_too_large(error(ErrorCode::kTooLarge, 414)));
  CHECK(is_request_too_large(error(ErrorCode::kTooLarge, 431)));
  CHECK_FALSE(is_request_too_large(error(ErrorCode::kTooLarge, 413)));
  CHECK_FALSE(is_request_too_large(error(ErrorCode::kTooLarge)));
}

}  // namespace
}  // namespace sharder::kube
