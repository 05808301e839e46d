#include "base/go_duration.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <utility>

#include "base/ascii.h"

namespace sharder {

namespace {

std::optional<std::int64_t> unit_nanoseconds(std::string_view unit) {
  static constexpr std::array<std::pair<std::string_view, std::int64_t>, 8> kUnits{{
      {"ns", 1},
      {"us", 1'000},
      {"\u00b5s", 1'000},  // micro sign
      {"\u03bcs", 1'000},  // Greek letter mu
      {"ms", 1'000'000},
      {"s", 1'000'000'000},
      {"m", 60'000'000'000},
      {"h", 3'600'000'000'000},
  }};
  const auto* const found = std::ranges::find(kUnits, unit, [](const auto& entry) { return entry.first; });
  return found == kUnits.end() ? std::nullopt : std::optional(found->second);
}

// Takes the digits off the front of `text`.
std::string_view take_digits(std::string_view& text) {
  const auto length = static_cast<std::size_t>(std::ranges::find_if_not(text, is_digit) - text.begin());
  const std::string_view digits = text.substr(0, length);
  text.remove_prefix(length);
  return digits;
}

// Takes one "1.5h" off the front of `text`, in nanoseconds. 128 bits hold every product that can lead to a 64-bit
// result.
std::optional<__int128> take_duration_part(std::string_view& text) {
  const std::string_view whole = take_digits(text);
  std::string_view fraction;
  if (text.starts_with('.')) {
    text.remove_prefix(1);
    fraction = take_digits(text);
  }
  const auto unit_end = std::ranges::find_if(text, [](char c) { return c == '.' || is_digit(c); });
  const std::string_view unit = text.substr(0, static_cast<std::size_t>(unit_end - text.begin()));
  const auto nanoseconds = unit_nanoseconds(unit);
  if ((whole.empty() && fraction.empty()) || !nanoseconds || whole.size() > 20) {
    return std::nullopt;
  }
  text.remove_prefix(unit.size());
  __int128 value = 0;
  for (const char digit : whole) {
    value = value * 10 + (digit - '0');
  }
  value *= *nanoseconds;
  // Decimals past the 14th are less than a nanosecond, even of an hour.
  __int128 scaled = 0, scale = 1;
  for (const char digit : fraction.substr(0, 14)) {
    scaled = scaled * 10 + (digit - '0');
    scale *= 10;
  }
  return value + scaled * *nanoseconds / scale;
}

}  // namespace

std::optional<std::chrono::nanoseconds> parse_go_duration(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) {
    text.remove_prefix(1);
  }
  if (text == "0") {
    return std::chrono::nanoseconds(0);
  }
  if (text.empty()) {
    return std::nullopt;
  }
  constexpr __int128 kMax = std::numeric_limits<std::int64_t>::max();
  __int128 sum = 0;
  while (!text.empty()) {
    const auto part = take_duration_part(text);
    if (!part) {
      return std::nullopt;
    }
    sum += *part;
    if (sum > kMax + (negative ? 1 : 0)) {
      return std::nullopt;
    }
  }
  return std::chrono::nanoseconds(static_cast<std::int64_t>(negative ? -sum : sum));
}

}  // namespace sharder
