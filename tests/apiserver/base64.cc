#include "tests/apiserver/base64.h"

#include <cstdint>

namespace sharder::apiserver {

namespace {
constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
}

std::string base64_encode(std::string_view bytes) {
  std::string result;
  result.reserve((bytes.size() + 2) / 3 * 4);
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : bytes) {
    bits = (bits << 8U) | static_cast<unsigned char>(c);
    for (count += 8; count >= 6; count -= 6) {
      result += kAlphabet[(bits >> static_cast<unsigned>(count - 6)) & 63U];
    }
  }
  if (count > 0) {
    result += kAlphabet[(bits << static_cast<unsigned>(6 - count)) & 63U];
  }
  result.append((4 - result.size() % 4) % 4, '=');
  return result;
}

std::optional<std::string> base64_decode(std::string_view text) {
  std::string result;
  std::uint32_t bits = 0;
  int count = 0;
  std::size_t digits = 0;
  bool padded = false;
  for (const char c : text) {
    if (c == '\n' || c == '\r') {
      continue;
    }
    if (c == '=') {
      padded = true;
      continue;
    }
    const std::size_t digit = kAlphabet.find(c);
    if (padded || digit == std::string_view::npos) {
      return std::nullopt;
    }
    ++digits;
    bits = (bits << 6U) | static_cast<std::uint32_t>(digit);
    if ((count += 6) >= 8) {
      count -= 8;
      result += static_cast<char>((bits >> static_cast<unsigned>(count)) & 255U);
    }
  }
  return digits % 4 == 1 ? std::nullopt : std::optional(std::move(result));
}

}  // namespace sharder::apiserver
