#pragma once

#include <cstddef>
#include <string_view>

namespace sharder {

// The beginning of a text, of at most so many bytes; no UTF-8 character is cut.
constexpr std::string_view cut_utf8(std::string_view text, std::size_t most) {
  if (text.size() <= most) {
    return text;
  }
  while (most > 0 && (static_cast<unsigned char>(text[most]) & 0xc0) == 0x80) {
    --most;
  }
  return text.substr(0, most);
}

// The first character of a text that is not empty, as its code point and its bytes. A byte that begins none is U+FFFD.
struct Utf8Character {
  char32_t code;
  std::string_view bytes;
};
constexpr Utf8Character first_utf8(std::string_view text) {
  const auto byte = [text](std::size_t i) -> char32_t { return static_cast<unsigned char>(text[i]); };
  const char32_t first = byte(0);
  if (first < 0x80) {
    return {.code = first, .bytes = text.substr(0, 1)};
  }
  const Utf8Character broken{.code = 0xfffd, .bytes = text.substr(0, 1)};
  const std::size_t size = first < 0xc2 || first > 0xf4 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  if (size == 0 || text.size() < size) {
    return broken;
  }
  char32_t code = first & (0x7fU >> size);
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0) != 0x80) {
      return broken;
    }
    code = code << 6U | (byte(i) & 0x3f);
  }
  constexpr char32_t kLeast[] = {0x80, 0x800, 0x10000};  // of 2, 3 and 4 bytes
  const bool surrogate = code >= 0xd800 && code <= 0xdfff;
  return code < kLeast[size - 2] || surrogate || code > 0x10ffff
             ? broken
             : Utf8Character{.code = code, .bytes = text.substr(0, size)};
}

}  // namespace sharder
