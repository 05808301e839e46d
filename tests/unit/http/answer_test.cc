#include "http/answer.h"

#include <doctest/doctest.h>

#include <string>

using sharder::http::append_answer;
using sharder::http::DateLine;
using sharder::http::Response;

TEST_CASE("an answer on the wire") {
  DateLine date;
  CHECK(date.at(784111777) == "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n");  // the example of RFC 9110, 5.6.7
  CHECK(date.at(784111778) == "Date: Sun, 06 Nov 1994 08:49:38 GMT\r\n");
  std::string out;
  REQUIRE(append_answer(out, {.status = 429, .content_type = "a/b", .body = "x\n", .headers = {{"Retry-After", "1"}}},
                        "Date: d\r\n", {.close = true}));
  CHECK(out ==
        "HTTP/1.1 429 Too Many Requests\r\nContent-Type: a/b\r\nContent-Length: 2\r\nDate: d\r\n"
        "Connection: close\r\nRetry-After: 1\r\n\r\nx\n");
}

TEST_CASE("every status has a phrase, answers that break the message are not written") {
  for (int status = 200; status < 600; ++status) {
    std::string out;
    REQUIRE(append_answer(out, {.status = status}, "", {}));
    CHECK(out.find(" \r\n") == std::string::npos);
  }
  for (const Response& bad :
       {Response{.status = 99}, Response{.status = 100}, Response{.status = 1000}, Response{.content_type = "a\r\nb"},
        Response{.headers = {{"", "a"}}}, Response{.headers = {{"a\n", "b"}}},
        Response{.headers = {{"a", std::string(1, '\0')}}}}) {
    std::string out;
    CHECK_FALSE(append_answer(out, bad, "", {}));
    CHECK(out.empty());
  }
}
