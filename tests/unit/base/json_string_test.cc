#include "base/json_string.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <string>

using sharder::append_json_string;

TEST_CASE("strings are escaped so that any JSON parser reads them back") {
  std::string all;
  for (int c = 0; c < 128; ++c) {
    all += static_cast<char>(c);
  }
  all += "\xc3\xa4\xf0\x9f\x98\x80";
  std::string out = "before ";
  append_json_string(out, all);
  REQUIRE(out.starts_with("before \""));
  CHECK(nlohmann::json::parse(out.substr(7)) == all);
}
