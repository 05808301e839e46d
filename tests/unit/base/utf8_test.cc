#include "base/utf8.h"

#include <doctest/doctest.h>

#include <string_view>
#include <vector>

namespace sharder {
namespace {

TEST_CASE("a text is taken apart into its characters, and what is no UTF-8 into bytes") {
  struct Case {
    std::string_view text;
    char32_t code;
    std::size_t size;
  };
  for (const auto& [text, code, size] : std::vector<Case>{{"ab", U'a', 1},
                                                          {"\u00e9x", U'\u00e9', 2},
                                                          {"\u20acx", U'\u20ac', 3},
                                                          {"\U0001F600x", U'\U0001F600', 4},
                                                          {"\x9b", U'\ufffd', 1},
                                                          {"\xe2\x82", U'\ufffd', 1},
                                                          {"\xe2\x82x", U'\ufffd', 1},
                                                          {"\xc0\x9b", U'\ufffd', 1},             // overlong
                                                          {"\xe0\x82\x9b", U'\ufffd', 1},         // overlong
                                                          {"\xed\xa0\x80", U'\ufffd', 1},         // a surrogate
                                                          {"\xf4\x90\x80\x80", U'\ufffd', 1}}) {  // above U+10FFFF
    CAPTURE(text);
    const Utf8Character first = first_utf8(text);
    CHECK(first.code == code);
    CHECK(first.bytes.size() == size);
  }
}

TEST_CASE("a text is cut before a character that does not fit whole") {
  CHECK(cut_utf8("abc", 3) == "abc");
  CHECK(cut_utf8("abcd", 3) == "abc");
  CHECK(cut_utf8("", 0).empty());
  CHECK(cut_utf8("ab\u00e9", 3) == "ab");
  CHECK(cut_utf8("ab\u00e9", 4) == "ab\u00e9");
  CHECK(cut_utf8("\u20ac", 2).empty());
  CHECK(cut_utf8("a\U0001F600b", 4) == "a");
  CHECK(cut_utf8("a\U0001F600b", 5) == "a\U0001F600");
}

}  // namespace
}  // namespace sharder
