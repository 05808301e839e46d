#include "base/ascii.h"

#include <doctest/doctest.h>

using namespace sharder;

TEST_CASE("letters of ASCII have two cases, all other bytes one") {
  CHECK(to_lower(std::string_view("AZaz09-\xc4[@")) == "azaz09-\xc4[@");
  CHECK(to_upper('a') == 'A');
  CHECK(to_upper('z') == 'Z');
  for (const char c : {'A', '0', '`', '{', '\xe4'}) {
    CHECK(to_upper(c) == c);
  }
  CHECK(equals_ignoring_case("Retry-After", "retry-aFTER"));
  CHECK_FALSE(equals_ignoring_case("a", "ab"));
  CHECK_FALSE(equals_ignoring_case("@", "`"));
}

TEST_CASE("what a character is") {
  CHECK(is_alphanumeric('0'));
  CHECK(is_alphanumeric('Z'));
  CHECK(is_alphanumeric('a'));
  for (const char c : {'/', ':', '@', '[', '`', '{', '_', '\xe4', '\0'}) {
    CAPTURE(c);
    CHECK_FALSE(is_alphanumeric(c));
    CHECK(hex_value(c) == -1);
  }
  CHECK(hex_value('9') == 9);
  CHECK(hex_value('a') == 10);
  CHECK(hex_value('F') == 15);
  CHECK(hex_value('g') == -1);
}

TEST_CASE("trim takes blanks off both ends and nothing from between") {
  CHECK(trim(" \ta b\t ") == "a b");
  CHECK(trim("a") == "a");
  CHECK(trim("").empty());
  CHECK(trim(" \t").empty());
  CHECK(trim("a\n") == "a\n");
  CHECK(trim("\na\n", "\n") == "a");
}
