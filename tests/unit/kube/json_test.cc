#include "kube/json.h"

#include <doctest/doctest.h>

using namespace sharder;
using namespace sharder::kube;

TEST_CASE("text that is no JSON becomes an error, never an exception") {
  for (const char* text : {"", "{", "nope", "{} {}", "{\"a\":\"\xff\"}", "[1,]"}) {
    CAPTURE(text);
    const auto parsed = parse_json(text);
    REQUIRE_FALSE(parsed.has_value());
    CHECK(parsed.error().code == ErrorCode::kInvalid);
    CHECK(parsed.error().message.starts_with("not valid JSON: "));
  }
  CHECK(parse_json(R"({"a":1})").has_value());
}

TEST_CASE("string_at finds strings and nothing else") {
  const auto object =
      parse_json(R"({"metadata":{"name":"a","labels":{"x/y":"z"}},"n":1,"list":["s"],"null":null})").value();
  CHECK(string_at(object, "/metadata/name") == "a");
  CHECK(string_at(object, "/metadata/labels/x~1y") == "z");
  CHECK(string_at(object, "/list/0") == "s");
  for (const char* pointer : {"/metadata", "/n", "/null", "/absent", "/n/deeper", "/list/name", "/list/7", "/list/-"}) {
    CAPTURE(pointer);
    CHECK(string_at(object, pointer).empty());
  }
}
