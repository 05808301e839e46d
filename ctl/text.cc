#include "ctl/text.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "base/utf8.h"
#include "sharder/values.h"

namespace sharder::ctl {

namespace {

template <class Parts>
std::string joined(const Parts& parts, std::string_view separator) {
  std::string text;
  for (const auto& part : parts) {
    text.append(text.empty() ? "" : separator).append(part);
  }
  return text;
}

}  // namespace

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const auto end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) {
      return parts;
    }
    text.remove_prefix(end + 1);
  }
}

std::string join(std::span<const std::string_view> parts, std::string_view separator) {
  return joined(parts, separator);
}
std::string join(std::span<const std::string> parts, std::string_view separator) {
  return joined(parts, separator);
}

bool steers_terminal(char32_t character) {
  struct Range {
    char32_t first, last;
  };
  static constexpr Range kRanges[] = {{0x00, 0x1f},     {0x7f, 0x9f},     {0x61c, 0x61c},
                                      {0x200e, 0x200f}, {0x2028, 0x202e}, {0x2066, 0x2069},
                                      {0xfeff, 0xfeff}, {0xfff9, 0xfffb}, {0xfffe, 0xffff}};
  return std::ranges::any_of(
      kRanges, [character](const Range& range) { return character >= range.first && character <= range.last; });
}

std::string escaped(char32_t character) {
  std::string text = "\\u";
  for (int shift = 12; shift >= 0; shift -= 4) {
    text += "0123456789abcdef"[character >> static_cast<unsigned>(shift) & 0xfU];
  }
  return text;
}

std::string printable(std::string_view text) {
  std::string line;
  line.reserve(text.size());
  while (!text.empty()) {
    const auto [code, bytes] = first_utf8(text);
    text.remove_prefix(bytes.size());
    if (code == '\n' || code == '\r' || code == '\t') {
      line += ' ';
    } else if (code < 0x20 || code == 0x7f) {
      line += '^';
      line += static_cast<char>(code ^ 0x40U);
    } else if (steers_terminal(code)) {
      line += escaped(code);
    } else {
      line += code == 0xfffd ? std::string_view("\xEF\xBF\xBD") : bytes;
    }
  }
  return line;
}

std::size_t length(std::string_view text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

std::vector<std::string> wrapped(std::string_view text, std::size_t width) {
  width = std::max<std::size_t>(width, 1);
  // Where the character begins that has so many before it.
  const auto offset = [&text](std::size_t characters) {
    std::size_t at = 0;
    for (; characters > 0 && at < text.size(); --characters) {
      at += first_utf8(text.substr(at)).bytes.size();
    }
    return at;
  };
  std::vector<std::string> lines;
  for (std::size_t most = offset(width); most < text.size(); most = offset(width)) {
    auto end = text.rfind(' ', most);
    if (end == std::string_view::npos || end == 0) {
      end = most;
    }
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(end);
    text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  }
  if (!text.empty() || lines.empty()) {
    lines.emplace_back(text);
  }
  return lines;
}

std::string did_you_mean(std::string_view word, std::span<const std::string_view> names, std::string_view prefix) {
  if (const auto near = app::closest(word, names)) {
    return "; did you mean " + std::string(prefix) + std::string(*near) + "?";
  }
  return "";
}

std::string what_there_is(std::string_view word, std::span<const std::string> names) {
  constexpr std::size_t kShown = 5;
  if (names.empty()) {
    return "; there are none";
  }
  const std::vector<std::string_view> views(names.begin(), names.end());
  if (std::string near = did_you_mean(word, views); !near.empty()) {
    return near;
  }
  std::string text = "; there are " + join(names.first(std::min(kShown, names.size())), ", ");
  return names.size() > kShown ? text + " and " + std::to_string(names.size() - kShown) + " more" : text;
}

std::string short_duration(std::chrono::seconds duration) {
  struct Unit {
    std::int64_t below;  // durations in seconds are shown in this unit
    std::int64_t seconds;
    char letter;
    std::int64_t part;  // the next smaller unit, shown beside less than ten of this one
    char part_letter;
  };
  static constexpr std::array<Unit, 3> kUnits{
      {{2L * 3600, 60, 'm', 1, 's'}, {2L * 86400, 3600, 'h', 60, 'm'}, {INT64_MAX, 86400, 'd', 3600, 'h'}}};
  const std::int64_t seconds = std::max<std::int64_t>(duration.count(), 0);
  if (seconds < 120) {
    return std::to_string(seconds) + "s";
  }
  const Unit& unit = *std::ranges::find_if(kUnits, [seconds](const Unit& one) { return seconds < one.below; });
  const std::int64_t whole = seconds / unit.seconds;
  const std::int64_t parts = seconds % unit.seconds / unit.part;
  const std::string text = std::to_string(whole) + unit.letter;
  return whole < 10 && parts > 0 ? text + std::to_string(parts) + unit.part_letter : text;
}

std::string count_of(std::int64_t count, std::string_view singular) {
  return std::to_string(count) + " " + std::string(singular) + (count == 1 ? "" : "s");
}

std::string decimal(double value, int decimals) {
  std::array<char, 64> buffer{};
  const auto end =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::fixed, decimals).ptr;
  return {buffer.data(), end};
}

}  // namespace sharder::ctl
