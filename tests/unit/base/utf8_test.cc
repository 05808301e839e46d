#include "base/utf8.h"

#include <doctest/doctest.h>

namespace sharder {
namespace {

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
