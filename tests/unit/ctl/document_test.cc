#include "ctl/document.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "kube/codec/yaml.h"

using namespace sharder;
using namespace sharder::ctl;
using nlohmann::ordered_json;

TEST_CASE("what is written as YAML is read as the same value, whatever the texts look like") {
  ordered_json value = document("Status");
  value["words"] = {"yes", "no",  "null", "~",  "",           "1",  "0x10",       "1e3", "2026-11-23", "a: b", "- a",
                    "# c", "a b", "it's", "\"", "two\nlines", "\t", "ring-a.b/c", "é",   "true",       "On",   ".inf"};
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
