#include "webhook/json_text.h"

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "base/ascii.h"

namespace sharder::webhook {
namespace {

// The value of four hexadecimal digits, or -1. Reads no further than the first character that is no such digit.
int code_unit(const char* digits) {
  int value = 0;
  for (int i = 0; i < 4; ++i) {
    const int digit = hex_value(digits[i]);
    if (digit < 0) {
      return -1;
    }
    value = value * 16 + digit;
  }
  return value;
}

// Moves `text` from behind a backslash to behind the escape; false when this is no escape.
bool pass_escape(const char*& text) {
  static constexpr std::string_view kSimple = "\"\\/bfnrt";
  const char kind = *text++;
  if (kind != 'u') {
    return kSimple.find(kind) != std::string_view::npos;
  }
  const int first = code_unit(text);
  if (first < 0) {
    return false;
  }
  text += 4;
  if (first < 0xd800 || first > 0xdfff) {
    return true;
  }
  if (first > 0xdbff || text[0] != '\\' || text[1] != 'u') {
    return false;  // a low surrogate without a high one, or the other way round
  }
  const int second = code_unit(text + 2);
  text += 6;
  return second >= 0xdc00 && second <= 0xdfff;
}

// The first quote or backslash. Eight bytes at a time: most of a review is text in strings.
const char* find_quote_or_backslash(const char* text) {
  constexpr std::uint64_t kOnes = 0x0101010101010101;
  constexpr std::uint64_t kHighs = 0x8080808080808080;
  static_assert(std::endian::native == std::endian::little);
  for (;; text += 8) {
    std::uint64_t bytes = 0;
    std::memcpy(&bytes, text, sizeof bytes);
    // The lowest bit that is set marks the first byte that is zero; only bits above it may be wrong.
    const auto zeros = [](std::uint64_t word) { return (word - kOnes) & ~word & kHighs; };
    if (const auto found = zeros(bytes ^ (kOnes * '"')) | zeros(bytes ^ (kOnes * '\\')); found != 0) {
      return text + std::countr_zero(found) / 8;
    }
  }
}

std::size_t count_digits(std::string_view text, std::size_t begin) {
  std::size_t end = begin;
  while (end < text.size() && is_digit(text[end])) {
    ++end;
  }
  return end - begin;
}

}  // namespace

Escapes check_escapes(const char* text) {
  Escapes result = Escapes::kNone;
  while (*(text = find_quote_or_backslash(text)) != '"') {
    ++text;
    if (!pass_escape(text)) {
      return Escapes::kInvalid;
    }
    result = Escapes::kValid;
  }
  return result;
}

bool is_number(std::string_view text) {
  std::size_t at = text.starts_with('-') ? 1 : 0;
  const std::size_t whole = count_digits(text, at);
  if (whole == 0 || (whole > 1 && text[at] == '0')) {
    return false;
  }
  at += whole;
  if (at < text.size() && text[at] == '.') {
    const std::size_t fraction = count_digits(text, at + 1);
    if (fraction == 0) {
      return false;
    }
    at += 1 + fraction;
  }
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    ++at;
    if (at < text.size() && (text[at] == '+' || text[at] == '-')) {
      ++at;
    }
    const std::size_t exponent = count_digits(text, at);
    if (exponent == 0) {
      return false;
    }
    at += exponent;
  }
  return at == text.size();
}

void append_pointer_token(std::string& out, std::string_view key) {
  for (const char c : key) {
    if (c == '~') {
      out += "~0";
    } else if (c == '/') {
      out += "~1";
    } else {
      out += c;
    }
  }
}

}  // namespace sharder::webhook
