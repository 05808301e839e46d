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

}  // namespace sharder
