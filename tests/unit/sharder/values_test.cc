#include "sharder/values.h"

#include <doctest/doctest.h>

#include <array>
#include <limits>

namespace {

using namespace sharder::app;
using namespace std::chrono_literals;

TEST_CASE("truth values are those of Go's ParseBool") {
  for (const char* text : {"1", "t", "T", "TRUE", "true", "True"}) {
    CHECK(parse_go_bool(text) == true);
  }
  for (const char* text : {"0", "f", "F", "FALSE", "false", "False"}) {
    CHECK(parse_go_bool(text) == false);
  }
  for (const char* text : {"", "yes", "no", "on", "tRUE", "2", " true", "true "}) {
    CAPTURE(text);
    CHECK(parse_go_bool(text) == std::nullopt);
  }
}

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

TEST_CASE("the closest name is the one that was meant, if any was") {
  const std::array<std::string_view, 4> names{"syncPeriod", "concurrentMoves", "url", "service"};
  CHECK(closest("syncPeriodd", names) == "syncPeriod");
  CHECK(closest("SYNCPERIOD", names) == "syncPeriod");
  CHECK(closest("concurentMove", names) == "concurrentMoves");
  CHECK(closest("ulr", names) == "url");
  CHECK(closest("services", names) == "service");
  CHECK(closest("annotations", names) == std::nullopt);
  CHECK(closest("x", {}) == std::nullopt);
}

TEST_CASE("names are those that Kubernetes allows") {
  CHECK(is_dns_label("sharding-system"));
  CHECK(is_dns_label(std::string(63, 'a')));
  for (const std::string& name : {std::string(), std::string(64, 'a'), std::string("-a"), std::string("a-"),
                                  std::string("a.b"), std::string("A"), std::string("a_b")}) {
    CAPTURE(name);
    CHECK_FALSE(is_dns_label(name));
  }
  CHECK(is_dns_subdomain("a.b-c.d0"));
  CHECK(is_dns_subdomain(std::string(253, 'a')));
  for (const std::string& name :
       {std::string(), std::string("a..b"), std::string(".a"), std::string("a."), std::string(254, 'a')}) {
    CAPTURE(name);
    CHECK_FALSE(is_dns_subdomain(name));
  }
  CHECK(is_qualified_name("cert-manager.io/inject-ca-from"));
  CHECK(is_qualified_name("Simple_name.x"));
  for (const char* name : {"", "/", "a/", "/a", "a/b/c", "A.b/c", "a/-b", "a b"}) {
    CAPTURE(name);
    CHECK_FALSE(is_qualified_name(name));
  }
}

}  // namespace
