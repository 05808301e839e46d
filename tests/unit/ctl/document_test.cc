#include "ctl/document.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "kube/codec/yaml.h"

using namespace sharder;
using namespace sharder::ctl;
using nlohmann::ordered_json;

TEST_CASE("what is written as YAML is read as the same value, whatever the texts look like") {
  ordered_json value = document("Status");
  value["words"] = {"yes",  "no",         "null",   "~",          "",       "1",      "0x10",
                    "1e3",  "2026-11-23", "a: b",   "- a",        "# c",    "a b",    "it's",
                    "\"",   "two\nlines", "\t",     "ring-a.b/c", "é",      "true",   "On",
                    ".inf", "\u009b2J",   "\u202e", "\x7f",       "\ufeff", "\uffff", "\u2028"};
  value["numbers"] = {0, -1, 1.5, true, nullptr};
  value["nested"] = {{"empty list", ordered_json::array()},
                     {"empty", ordered_json::object()},
                     {"list", {{{"a", 1}, {"b", {1, 2}}}, ordered_json::array({ordered_json::array({1})})}}};
  const std::string text = to_yaml(value);
  const auto read = kube::parse_yaml(text);
  REQUIRE(read);
  CHECK(read->value == nlohmann::json::parse(value.dump()));
  CHECK(text.starts_with("apiVersion: sharderctl.sharding.timebertt.dev/v1alpha1\nkind: Status\n"));
}

TEST_CASE("documents do not steer a terminal, and YAML has only characters that YAML allows") {
  const ordered_json value{{"m", "\x1b[2J\u009b\x7f\u202e\u00e9"}};
  CHECK(to_json_text(value) == "{\n  \"m\": \"\\u001b[2J\\u009b\\u007f\\u202e\u00e9\"\n}\n");
  CHECK(to_yaml(value) == "m: \"\\u001b[2J\\u009b\\u007f\\u202e\u00e9\"\n");
}
