#include "base/base64.h"

#include <doctest/doctest.h>

#include <string>

namespace sharder {
namespace {

// The examples are those of RFC 4648, 10, among others.
TEST_CASE("base64 comes back as it went") {
  CHECK(encode_base64("") == "");
  CHECK(encode_base64("f") == "Zg==");
  CHECK(encode_base64("fo") == "Zm8=");
  CHECK(encode_base64("foo") == "Zm9v");
  CHECK(encode_base64("foob") == "Zm9vYg==");
  CHECK(encode_base64("fooba") == "Zm9vYmE=");
  CHECK(encode_base64("foobar") == "Zm9vYmFy");
  CHECK(encode_base64("\xff\xfb\xbf") == "//u/");
  for (const std::string& text :
       {std::string(), std::string("a"), std::string("ab\0c", 4), std::string(1000, '\xff')}) {
    CHECK(decode_base64(encode_base64(text)) == text);
  }
  std::string all;
  for (int c = 0; c < 256; ++c) {
    all += static_cast<char>(c);
  }
  CHECK(decode_base64(encode_base64(all)) == all);
  std::string appended = "x";
  append_base64(appended, "foo");
  CHECK(appended == "xZm9v");
  CHECK(decode_base64("Cg==") == "\n");
  CHECK(decode_base64("+/+/") == "\xfb\xff\xbf");
  CHECK(decode_base64("Zm\r\n9v\n") == "foo");
  CHECK(decode_base64("YWJj\nYWI=\r\n") == "abcab");
  for (const char* wrong : {"Zm9v ", " Zm9v", "Zm 9v", "Zm9 ", "Z", "Zg", "Zg=", "Zm8", "Z===", "Zg=v",
                            "Zg==Zg==", "Zm8=Zm9v", "Zm9v=", "Zm9*", "-_-_", "====", "=Zm9"}) {
    CAPTURE(wrong);
    CHECK(decode_base64(wrong).error().message == "not valid base64");
  }
}

}  // namespace
}  // namespace sharder
