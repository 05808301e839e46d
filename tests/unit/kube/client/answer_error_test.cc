#include "kube/client/answer_error.h"

#include <doctest/doctest.h>

#include <chrono>

namespace sharder::kube {
namespace {

using namespace std::chrono_literals;

TEST_CASE("the code of an answer says what the caller does next") {
  struct Case {
    int status;
    const char* reason;
    ErrorCode code;
  };
  const Case cases[] = {
      {301, "", ErrorCode::kUnavailable},
      {400, "BadRequest", ErrorCode::kInvalid},
      {400, "Expired", ErrorCode::kGone},
      {401, "Unauthorized", ErrorCode::kUnauthorized},
      {403, "Forbidden", ErrorCode::kForbidden},
      {404, "NotFound", ErrorCode::kNotFound},
      {405, "", ErrorCode::kInvalid},
      {408, "", ErrorCode::kUnavailable},
      {409, "AlreadyExists", ErrorCode::kExists},
      {409, "Conflict", ErrorCode::kConflict},
      {409, "", ErrorCode::kConflict},
      {410, "Gone", ErrorCode::kGone},
      {410, "Expired", ErrorCode::kGone},
      {412, "", ErrorCode::kConflict},
      {413, "", ErrorCode::kTooLarge},
      {414, "", ErrorCode::kTooLarge},
      {415, "", ErrorCode::kInvalid},
      {422, "Invalid", ErrorCode::kInvalid},
      {429, "TooManyRequests", ErrorCode::kUnavailable},
      {431, "", ErrorCode::kTooLarge},
      {500, "InternalError", ErrorCode::kUnavailable},
      {503, "", ErrorCode::kUnavailable},
      {504, "Timeout", ErrorCode::kUnavailable},
  };
  for (const Case& c : cases) {
    CAPTURE(c.status);
    CAPTURE(c.reason);
    const std::string body = std::string(R"({"kind":"Status","reason":")") + c.reason + R"(","message":"m"})";
    const Error error = error_from_answer(Method::kGet, "/x", c.status, body, std::nullopt);
    CHECK(to_string(error.code) == to_string(c.code));
    CHECK(error.http_status == c.status);
    CHECK(error.reason == c.reason);
  }
}

TEST_CASE("the message names method, path, status and what the server said, but not the query") {
  const Error error = error_from_answer(Method::kPatch, "/api/v1/secrets?labelSelector=secret", 503,
                                        R"({"kind":"Status","message":"etcd is away"})", 3s);
  CHECK(error.message == "PATCH /api/v1/secrets: 503 Service Unavailable: etcd is away");
  CHECK(error.retry_after == 3s);
}

TEST_CASE("a body that is no Status gives its first line, unless it is a page or broken JSON") {
  const auto message = [](std::string_view body) {
    return error_from_answer(Method::kGet, "/x", 502, body, std::nullopt).message;
  };
  CHECK(message("no healthy upstream\nmore") == "GET /x: 502 Bad Gateway: no healthy upstream");
  CHECK(message("a\tb\x1b[1m") == "GET /x: 502 Bad Gateway: a b [1m");
  CHECK(message("<html>502</html>") == "GET /x: 502 Bad Gateway");
  CHECK(message("{\"reason\":") == "GET /x: 502 Bad Gateway");
  CHECK(message("") == "GET /x: 502 Bad Gateway");
  CHECK(message(std::string(5000, 'x')).size() < 1100);
}

TEST_CASE("a status without a known phrase stands alone") {
  CHECK(error_from_answer(Method::kDelete, "/x", 599, "", std::nullopt).message == "DELETE /x: 599");
}

TEST_CASE("methods have their names") {
  CHECK(to_string(Method::kGet) == "GET");
  CHECK(to_string(Method::kPost) == "POST");
  CHECK(to_string(Method::kPut) == "PUT");
  CHECK(to_string(Method::kPatch) == "PATCH");
  CHECK(to_string(Method::kDelete) == "DELETE");
}

TEST_CASE("Retry-After is a number of seconds or a date") {
  const WallTime now = std::chrono::sys_days(std::chrono::year(2026) / 11 / 23) + 7h;
  CHECK(parse_retry_after("0", now) == 0s);
  CHECK(parse_retry_after(" 12 ", now) == 12s);
  CHECK(parse_retry_after("99999", now) == 3600s);
  CHECK(parse_retry_after("Mon, 23 Nov 2026 07:00:05 GMT", now) == 5s);
  CHECK(parse_retry_after("Mon, 23 Nov 2026 07:00:01 GMT", now + 500ms) == 1s);
  CHECK(parse_retry_after("Mon, 23 Nov 2026 06:00:00 GMT", now) == 0s);
  CHECK(parse_retry_after("Mon, 23 Nov 2027 06:00:00 GMT", now) == 3600s);
  for (const char* nonsense : {"", "-1", "1.5", "soon", "1 s", "99999999999999999999", "Mon, 23 Nov 2026"}) {
    CAPTURE(nonsense);
    CHECK(parse_retry_after(nonsense, now) == std::nullopt);
  }
}

}  // namespace
}  // namespace sharder::kube
