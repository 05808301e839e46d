#include "webhook/json_text.h"

#include <doctest/doctest.h>

#include <string>
#include <string_view>

#include "tests/unit/webhook/support.h"

namespace webhook = sharder::webhook;
using webhook::Escapes;

namespace {

Escapes escapes(std::string text) {
  text += "\"\\q345678";  // what follows does not matter
  return webhook::check_escapes(text.c_str());
}

}  // namespace

TEST_CASE("escapes are those of RFC 8259, surrogates in pairs") {
  CHECK(escapes("") == Escapes::kNone);
  CHECK(escapes("plain \xc3\xa4") == Escapes::kNone);
  for (const char* valid : {R"(\")", R"(\\)", R"(\/)", R"(\b\f\n\r\t)", R"(a\u00e4b)", R"(\uABCD)", R"(\ud83d\ude00)",
                            R"(\u0000)", R"(\\u12)", R"(\ud7ff\ue000)"}) {
    CAPTURE(valid);
    CHECK(escapes(valid) == Escapes::kValid);
  }
  for (const char* invalid :
       {R"(\x41)", R"(\a)", R"(\u12)", R"(\u12g4)", R"(\ud83d)", R"(\ude00)", R"(\ud83d\n)", R"(\ud83d\u0041)",
        R"(\ud83d\ud83d)", R"(\ude00\ud83d)", R"(\ud83dx)", R"(\ud83d\u12)", R"(\')", R"(ok\n\q)", R"(\U0041)"}) {
    CAPTURE(invalid);
    CHECK(escapes(invalid) == Escapes::kInvalid);
  }
}

TEST_CASE("an escape is found wherever it stands") {
  for (std::size_t before = 0; before < 20; ++before) {
    for (const char filler : {'a', '!', '#', '[', ']', '\x01', '\x7f', '\x80', '\xff'}) {
      const std::string text(before, filler);
      CAPTURE(before);
      CAPTURE(filler);
      CHECK(escapes(text) == Escapes::kNone);
      CHECK(escapes(text + "\\n" + text) == Escapes::kValid);
      CHECK(escapes(text + "\\q" + text) == Escapes::kInvalid);
      CHECK(escapes(text + "\\\\" + text) == Escapes::kValid);
    }
  }
}

TEST_CASE("numbers are those of RFC 8259, however large") {
  for (const char* valid : {"0", "-0", "7", "-120", "0.5", "10.25", "1e5", "1E+5", "-1.5e-300", "1e400",
                            "123456789012345678901234567890"}) {
    CAPTURE(valid);
    CHECK(webhook::is_number(valid));
  }
  for (const char* invalid : {"",     "-",  "01", "-01", "+1",       ".5",        "1.",    "1.e5",  "1e",  "1e+",
                              "0x10", "1 ", " 1", "NaN", "Infinity", "-Infinity", "1.2.3", "1e5.5", "--1", "1a"}) {
    CAPTURE(invalid);
    CHECK_FALSE(webhook::is_number(invalid));
  }
}

// RFC 6901, 3
TEST_CASE("a label key becomes one token of a JSON pointer") {
  std::string out;
  webhook::append_pointer_token(out, "shard.alpha.sharding.timebertt.dev/ex~ample");
  CHECK(out == "shard.alpha.sharding.timebertt.dev~1ex~0ample");
}
