#include "kube/codec/json.h"

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

TEST_CASE("an error names the place where text stops being JSON, and nothing of the text (design, 6.12)") {
  const auto message = [](const char* text) { return parse_json(text).error().message; };
  CHECK(message("secret") == "not valid JSON: line 1, column 1");
  CHECK(message("{\"a\": 1}\n{") == "not valid JSON: line 2, column 1");
  CHECK(message("{\n \"a\": secret}") == "not valid JSON: line 2, column 7");
  CHECK(message("") == "not valid JSON: line 1, column 1");
  CHECK(message("[1e999]") == "not valid JSON: a number too large");
}

TEST_CASE("value_at finds what is there, and null through arrays and in what is no object") {
  const auto object = parse_json(R"({"a":{"b":[1]}})").value();
  CHECK(value_at(object, "/a/b") == nlohmann::json::array({1}));
  for (const char* pointer : {"/x", "/a/b/c", "/a/b/0/c", "/a/b/1"}) {
    CAPTURE(pointer);
    CHECK(value_at(object, pointer).is_null());
  }
  CHECK(value_at(nlohmann::json::array(), "/a").is_null());
  CHECK(value_at(nullptr, "/a").is_null());
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

TEST_CASE("int_at finds whole numbers of 64 bits, and bool_at truth values") {
  const auto object =
      parse_json(R"({"n":-7,"most":9223372036854775807,"more":9223372036854775808,"real":1.0,"yes":true})").value();
  CHECK(int_at(object, "/n") == -7);
  CHECK(int_at(object, "/most") == std::numeric_limits<std::int64_t>::max());
  for (const char* pointer : {"/more", "/real", "/yes", "/absent"}) {
    CAPTURE(pointer);
    CHECK(int_at(object, pointer) == std::nullopt);
  }
  CHECK(bool_at(object, "/yes"));
  CHECK_FALSE(bool_at(object, "/n"));
  CHECK_FALSE(bool_at(object, "/absent"));
}

TEST_CASE("field_of takes a key as it is, and elements_of arrays alone") {
  const auto object = parse_json(R"({"x/y":"z","list":[1,2]})").value();
  CHECK(string_of(field_of(object, "x/y")) == "z");
  CHECK(field_of(object, "x").is_null());
  CHECK(field_of(object["list"], "x").is_null());
  CHECK(elements_of(object["list"]).size() == 2);
  CHECK(elements_of(object).empty());
}

TEST_CASE("condition_of finds the condition of a type, and null in what has none") {
  const auto object =
      parse_json(R"({"status":{"conditions":[7,{"type":"A","status":"True"},{"type":"B","status":"False"}]}})").value();
  CHECK(string_at(condition_of(object, "B"), "/status") == "False");
  CHECK(condition_of(object, "C").is_null());
  CHECK(condition_of(parse_json(R"({"status":{"conditions":{}}})").value(), "A").is_null());
}
