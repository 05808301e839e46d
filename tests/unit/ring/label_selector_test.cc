#include "ring/label_selector.h"

#include <doctest/doctest.h>

#include <map>
#include <string>

using sharder::ring::LabelSelector;
using sharder::ring::SelectorRequirement;
using enum sharder::ring::SelectorOperator;

namespace {

using Labels = std::map<std::string, std::string>;

bool matches(const SelectorRequirement& requirement, const Labels& labels) {
  return LabelSelector{.match_labels = {}, .match_expressions = {requirement}}.matches(labels);
}

}  // namespace

// protocol, 2: the meaning of metav1.LabelSelector
TEST_CASE("an empty selector selects everything") {
  CHECK(LabelSelector{}.matches({}));
  CHECK(LabelSelector{}.matches({{"a", "b"}}));
}

TEST_CASE("each operator decides as the API server does") {
  const Labels none;
  const Labels empty_value = {{"env", ""}};
  const Labels prod = {{"env", "prod"}, {"team", "a"}};
  const Labels test = {{"env", "test"}};

  const SelectorRequirement in{.key = "env", .op = kIn, .values = {"prod", "stage"}};
  CHECK(matches(in, prod));
  CHECK_FALSE(matches(in, test));
  CHECK_FALSE(matches(in, empty_value));
  CHECK_FALSE(matches(in, none));

  const SelectorRequirement not_in{.key = "env", .op = kNotIn, .values = {"prod", "stage"}};
  CHECK_FALSE(matches(not_in, prod));
  CHECK(matches(not_in, test));
  CHECK(matches(not_in, empty_value));
  CHECK(matches(not_in, none));

  const SelectorRequirement exists{.key = "env", .op = kExists, .values = {}};
  CHECK(matches(exists, prod));
  CHECK(matches(exists, empty_value));
  CHECK_FALSE(matches(exists, none));

  const SelectorRequirement absent{.key = "env", .op = kDoesNotExist, .values = {}};
  CHECK_FALSE(matches(absent, prod));
  CHECK_FALSE(matches(absent, empty_value));
  CHECK(matches(absent, none));
}

TEST_CASE("all labels and expressions of a selector must match") {
  const LabelSelector selector{.match_labels = {{"env", "prod"}, {"team", "a"}},
                               .match_expressions = {{.key = "tier", .op = kIn, .values = {"web"}},
                                                     {.key = "legacy", .op = kDoesNotExist, .values = {}}}};
  CHECK(selector.matches({{"env", "prod"}, {"team", "a"}, {"tier", "web"}, {"more", "x"}}));
  CHECK_FALSE(selector.matches({{"env", "test"}, {"team", "a"}, {"tier", "web"}}));
  CHECK_FALSE(selector.matches({{"env", "prod"}, {"tier", "web"}}));
  CHECK_FALSE(selector.matches({{"env", "prod"}, {"team", "a"}, {"tier", "db"}}));
  CHECK_FALSE(selector.matches({{"env", "prod"}, {"team", "a"}, {"tier", "web"}, {"legacy", ""}}));
}

TEST_CASE("operators have the API's words, and no other") {
  for (const auto op : {kIn, kNotIn, kExists, kDoesNotExist}) {
    CHECK(sharder::ring::parse_selector_operator(to_string(op)) == op);
  }
  CHECK(to_string(kDoesNotExist) == "DoesNotExist");
  CHECK_FALSE(sharder::ring::parse_selector_operator("in"));
  CHECK_FALSE(sharder::ring::parse_selector_operator(""));
}
