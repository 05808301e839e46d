#include "base/go_duration.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <limits>

using namespace sharder;
using namespace std::chrono_literals;

TEST_CASE("durations are those of Go's ParseDuration") {
  struct Case {
    const char* text;
    std::optional<std::chrono::nanoseconds> value;
  };
  const auto max = std::numeric_limits<std::int64_t>::max();
  const Case cases[] = {
      {"0", 0ns},
      {"-0", 0ns},
      {"0s", 0ns},
      {"5m", 5min},
      {"+5m", 5min},
      {"-1.5h", -90min},
      {"1h2m3.5s", 3723500ms},
      {"1m1h", 61min},
      {"300ms", 300ms},
      {"2us", 2us},
      {"2\u00b5s", 2us},
      {"2\u03bcs", 2us},
      {"7ns", 7ns},
      {".5s", 500ms},
      {"5.s", 5s},
      {"1.0000000000000000000000001s", 1s},
      {"0.3333333333333333333h", 1199999999999ns},
      {"9223372036854775807ns", std::chrono::nanoseconds(max)},
      {"-9223372036854775808ns", std::chrono::nanoseconds(std::numeric_limits<std::int64_t>::min())},
      {"9223372036854775808ns", std::nullopt},
      {"99999999999999999999999h", std::nullopt},
      {"2562048h", std::nullopt},
      {"2562047h2562047h", std::nullopt},
      {"", std::nullopt},
      {"-", std::nullopt},
      {"5", std::nullopt},
      {"5 m", std::nullopt},
      {" 5m", std::nullopt},
      {"5d", std::nullopt},
      {"5M", std::nullopt},
      {".s", std::nullopt},
      {"--5m", std::nullopt},
      {"1m-5s", std::nullopt},
      {"s", std::nullopt},
      {"1e3s", std::nullopt},
  };
  for (const Case& c : cases) {
    CAPTURE(c.text);
    CHECK(parse_go_duration(c.text) == c.value);
  }
}
