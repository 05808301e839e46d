#include "base/rfc3339.h"

#include <doctest/doctest.h>

using namespace sharder;
using std::chrono::microseconds;

TEST_CASE("a MicroTime is read and written back the same") {
  for (const char* text :
       {"2026-11-23T07:46:01.418239Z", "1970-01-01T00:00:00.000000Z", "1969-12-31T23:59:59.999999Z",
        "0001-01-01T00:00:00.000000Z", "9999-12-31T23:59:59.999999Z", "2024-02-29T12:00:00.000001Z"}) {
    CAPTURE(text);
    const auto time = parse_rfc3339(text);
    REQUIRE(time);
    CHECK(format_micro_time(*time) == text);
  }
}

TEST_CASE("other RFC 3339 fractions and offsets name the same moment") {
  struct Row {
    const char* text;
    const char* micro_time;
  };
  for (const Row& row : {Row{"2026-11-23T07:46:01Z", "2026-11-23T07:46:01.000000Z"},
                         Row{"2026-11-23T07:46:01.5Z", "2026-11-23T07:46:01.500000Z"},
                         Row{"2026-11-23T07:46:01.123456789Z", "2026-11-23T07:46:01.123456Z"},
                         Row{"2026-11-23T07:46:01.00000000000000000000000000000000001Z", "2026-11-23T07:46:01.000000Z"},
                         Row{"2026-11-23T09:16:01.25+01:30", "2026-11-23T07:46:01.250000Z"},
                         Row{"2026-11-22T23:46:01-08:00", "2026-11-23T07:46:01.000000Z"}}) {
    CAPTURE(row.text);
    const auto time = parse_rfc3339(row.text);
    REQUIRE(time);
    CHECK(format_micro_time(*time) == row.micro_time);
  }
}

TEST_CASE("what is no RFC 3339 time is not read") {
  for (const char* text : {"",
                           "2026",
                           "now",
                           "2026-11-23",
                           "2026-11-23T07:46:01",
                           "2026-11-23 07:46:01Z",
                           "2026-11-23t07:46:01z",
                           "2026-11-23T07:46:01.Z",
                           "2026-11-23T07:46:01.5",
                           "2026-13-01T00:00:00Z",
                           "2026-02-29T00:00:00Z",
                           "2026-00-10T00:00:00Z",
                           "2026-01-00T00:00:00Z",
                           "2026-11-23T24:00:00Z",
                           "2026-11-23T07:60:01Z",
                           "2026-11-23T07:46:60Z",
                           "2026-11-23T07:46:01Zx",
                           "2026-11-23T07:46:01+0100",
                           "2026-11-23T07:46:01+24:00",
                           "-026-11-23T07:46:01Z",
                           "99999-11-23T07:46:01Z",
                           "2026-11-23T07:46:01,5Z",
                           "+026-11-23T07:46:01Z"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_rfc3339(text));
  }
}

TEST_CASE("a metav1.Time is rounded down to the second") {
  CHECK(format_time(*parse_rfc3339("2026-11-23T07:46:01.999999Z")) == "2026-11-23T07:46:01Z");
  CHECK(format_time(*parse_rfc3339("1969-12-31T23:59:59.999999Z")) == "1969-12-31T23:59:59Z");
}
