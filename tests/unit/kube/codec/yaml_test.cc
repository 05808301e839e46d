#include "kube/codec/yaml.h"

#include <doctest/doctest.h>

#include "tests/support/testdata.h"

namespace sharder::kube {
namespace {

using nlohmann::json;

json read(const std::string& text) {
  const auto document = parse_yaml(text);
  CAPTURE(text);
  REQUIRE(document);
  return document->value;
}

std::string error_of(const std::string& text) {
  const auto document = parse_yaml(text);
  CAPTURE(text);
  REQUIRE_FALSE(document);
  CHECK(document.error().code == ErrorCode::kInvalid);
  return document.error().message;
}

// What sigs.k8s.io/yaml makes of the same texts: tests/testdata/yaml/record.py asks it.
TEST_CASE("YAML means what it means to Kubernetes, value by value and error by error") {
  const json cases = json::parse(testing::testdata("yaml/values.json"));
  REQUIRE(cases.size() > 100);
  for (const json& row : cases) {
    const std::string text = row.at("yaml");
    CAPTURE(text);
    const auto document = parse_yaml(text);
    // `ours` is there where we differ on purpose.
    REQUIRE(document.has_value() == (row.contains("value") != row.contains("ours")));
    if (document && row.contains("value")) {
      CHECK(document->value == row.at("value"));
      CHECK(document->repeated.empty() == row.at("strict"));
    }
  }
}

TEST_CASE("a field that is given twice, or merged and given, is named with its path") {
  const auto repeated = [](const std::string& text) { return parse_yaml(text).value().repeated; };
  using Paths = std::vector<std::string>;
  CHECK(repeated("a: {b: 1, b: 2}\nc: [{d: 1, d: 2}]\na: 3") == Paths{"a.b", "c[0].d", "a"});
  CHECK(repeated("a: &a {b: 1}\nc: {<<: *a, b: 2}") == Paths{"c.b"});
  CHECK(repeated("a: &a {b: 1}\nc: {<<: [*a, *a]}") == Paths{"c.b"});
  CHECK(repeated("a: &a {b: 1}\nc: {<<: *a}").empty());
}

TEST_CASE("only the first document is read, and the result shows whether more follows") {
  for (const char* nothing : {"a", "a\n---\n", "a\n...\n# c\n", "--- a\n---\n---\n"}) {
    CAPTURE(nothing);
    CHECK_FALSE(parse_yaml(nothing)->more);
  }
  for (const char* more : {"a\n---\nb", "a\n---\n~", "a\n---\n---\n[", "a\n---\n{}"}) {
    CAPTURE(more);
    const auto document = parse_yaml(more);
    REQUIRE(document);
    CHECK(document->value == "a");
    CHECK(document->more);
  }
}

TEST_CASE("an empty text is null") {
  CHECK(read("").is_null());
  CHECK(read("# nothing\n").is_null());
  CHECK(read("---\n").is_null());
}

TEST_CASE("an error names the place of what is wrong, and never quotes it") {
  CHECK(error_of("a: 1\nb: c: MARKER") == "line 2, column 5: mapping values are not allowed in this context");
  CHECK(error_of("a: *MARKER") == "line 1, column 4: an alias without an anchor");
  CHECK(error_of("a: !!int MARKER") == "line 1, column 4: the value does not match its tag");
  CHECK(error_of("a: .inf") == "line 1, column 4: JSON has no such number");
  CHECK(error_of("a:\n  <<: MARKER") == "line 2, column 7: << needs a mapping or a list of mappings");
  CHECK(error_of("? [MARKER]\n: a") == "line 1, column 3: a key that is no string");
  CHECK(error_of("a: &a [*a]") == "line 1, column 8: an alias inside its own anchor");
  CHECK(error_of("%YAML 1.2\n---\nMARKER") == "line 1, column 1: only YAML 1.1 is read");
  CHECK(error_of("a: \"MARKER\\q\"") == "line 1, column 11: found unknown escape character");
  CHECK(error_of("a: MARKER\xff") == "line 1, column 1: invalid leading UTF-8 octet");
}

TEST_CASE("text comes in UTF-8 or UTF-16, with or without a byte order mark") {
  CHECK(read("\xef\xbb\xbf"
             "a: \xc3\xa9") == json{{"a", "\u00e9"}});
  CHECK(read(std::string("\xff\xfe"
                         "a\0:\0 \0b\0",
                         10)) == json{{"a", "b"}});
}

std::string levels(int count) {
  std::string text = "x0: &x0 [a, a]\n";
  for (int i = 1; i < count; ++i) {
    text += "x" + std::to_string(i) + ": &x" + std::to_string(i) + " [";
    for (int n = 0; n < 10; ++n) {
      text += (n == 0 ? "*x" : ", *x") + std::to_string(i - 1);
    }
    text += "]\n";
  }
  return text;
}

TEST_CASE("what aliases may make of a text is bounded") {
  CHECK(read(levels(3)).at("x2").size() == 10);
  CHECK(error_of(levels(10)).ends_with("too much comes from aliases"));
}

TEST_CASE("depth is bounded, however it comes about") {
  const auto nested = [](int depth, const std::string& open) {
    std::string text;
    for (int i = 0; i < depth; ++i) {
      text += open;
    }
    return text;
  };
  CHECK(read(nested(60, "[") + nested(60, "]")).is_array());
  CHECK(error_of(nested(100'000, "[")).ends_with("nested too deeply"));
  CHECK(error_of(nested(100'000, "{a: ")).ends_with("nested too deeply"));
  CHECK(error_of(nested(100'000, "- ")).ends_with("nested too deeply"));
  CHECK(error_of(nested(100'000, "? ")).ends_with("nested too deeply"));
  std::string steps;
  for (int i = 0; i < 1'000; ++i) {
    steps += std::string(static_cast<std::size_t>(i), ' ') + "a:\n";
  }
  CHECK(error_of(steps).ends_with("nested too deeply"));
  std::string chain = "x0: &x0 [a]\n";  // each line is shallow, what it means is not
  for (int i = 1; i < 100; ++i) {
    chain += "x" + std::to_string(i) + ": &x" + std::to_string(i) + " [*x" + std::to_string(i - 1) + "]\n";
  }
  CHECK(error_of(chain).ends_with("nested too deeply"));
}

TEST_CASE("the number of directives is bounded") {
  std::string text;
  for (int i = 0; i < 200'000; ++i) {
    text += "%TAG !" + std::to_string(i) + "! tag:x\n";
  }
  CHECK(error_of(text + "---\na").ends_with("too many directives"));
}

TEST_CASE("the number of values is bounded") {
  std::string text = "[";
  for (int i = 0; i < 1'000'000; ++i) {
    text += "1,";
  }
  CHECK(error_of(text + "1]").ends_with("too many values"));
}

}  // namespace
}  // namespace sharder::kube
