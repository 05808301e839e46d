#include "ctl/text.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace sharder::ctl;
using std::chrono::seconds;

TEST_CASE("durations are as short as kubectl's") {
  for (const auto& [value, text] : std::vector<std::pair<long, std::string>>{{-5, "0s"},
                                                                             {0, "0s"},
                                                                             {119, "119s"},
                                                                             {120, "2m"},
                                                                             {330, "5m30s"},
                                                                             {3599, "59m"},
                                                                             {7199, "119m"},
                                                                             {7200, "2h"},
                                                                             {9000, "2h30m"},
                                                                             {172'799, "47h"},
                                                                             {172'800, "2d"},
                                                                             {190'800, "2d5h"},
                                                                             {86'400L * 400, "400d"}}) {
    CHECK(short_duration(seconds(value)) == text);
  }
}

TEST_CASE("a name that is not there is answered with one that is like it, or with what there is") {
  const std::vector<std::string> few{"alpha", "beta"};
  CHECK(what_there_is("alpah", few) == "; did you mean alpha?");
  CHECK(what_there_is("something", few) == "; there are alpha, beta");
  CHECK(what_there_is("x", {}) == "; there are none");
  const std::vector<std::string> many{"a1", "b2", "c3", "d4", "e5", "f6", "g7"};
  CHECK(what_there_is("something", many) == "; there are a1, b2, c3, d4, e5 and 2 more");
}

TEST_CASE("lines are cut at spaces, and a long word anywhere") {
  CHECK(wrapped("one two three", 7) == std::vector<std::string>{"one two", "three"});
  CHECK(wrapped("abcdefghij k", 4) == std::vector<std::string>{"abcd", "efgh", "ij k"});
  CHECK(wrapped("\u00e4\u00f6\u20ac\U0001f600x", 2) ==
        std::vector<std::string>{"\u00e4\u00f6", "\u20ac\U0001f600", "x"});
  CHECK(wrapped("\u00e4\u00f6 \u00fc", 4) == std::vector<std::string>{"\u00e4\u00f6 \u00fc"});
  CHECK(wrapped("", 4) == std::vector<std::string>{""});
}

TEST_CASE("a text of anybody neither steers the terminal nor begins a line") {
  CHECK(printable("plain \u00e4 \U0001f600") == "plain \u00e4 \U0001f600");
  CHECK(printable("\x1b[31mred\x1b]0;title\x07") == "^[[31mred^[]0;title^G");
  CHECK(printable("a\r\nFORGED\tb") == "a  FORGED b");
  CHECK(printable(std::string("\0\x7f", 2)) == "^@^?");
  CHECK(printable("\u009b2J\u202egnp.exe\u2066\u200f\ufeff\u2028") ==
        "\\u009b2J\\u202egnp.exe\\u2066\\u200f\\ufeff\\u2028");
  CHECK(printable("\x9b\xc3") == "\ufffd\ufffd");
}
