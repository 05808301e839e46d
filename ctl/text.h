#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

// Texts for people. Pure functions.
namespace sharder::ctl {

// The parts between the separators; empty ones are kept.
std::vector<std::string_view> split(std::string_view text, char separator);
std::string join(std::span<const std::string_view> parts, std::string_view separator);
std::string join(std::span<const std::string> parts, std::string_view separator);

// Whether a character would steer a terminal instead of being seen: controls (C0, DEL, C1), marks of the direction of
// writing, separators of lines, and the like.
bool steers_terminal(char32_t character);
// "\u009b", as JSON escapes it. For characters of up to U+FFFF, as all are that steer terminals.
std::string escaped(char32_t character);
// A text of anybody as one line that a terminal may be given: line breaks and tabs are spaces, ESC is "^[", others are
// escaped, and what is no UTF-8 is U+FFFD.
std::string printable(std::string_view text);

// How many characters a text has: terminals count these, not bytes.
std::size_t length(std::string_view text);

// Lines of at most `width` characters, cut at spaces; a longer word is cut.
std::vector<std::string> wrapped(std::string_view text, std::size_t width);

// "; did you mean --watch?" when one of the names is like `word`, else "". `prefix` stands before the name.
std::string did_you_mean(std::string_view word, std::span<const std::string_view> names, std::string_view prefix = {});
// For an object that is not there: "; did you mean a?", else "; there are a, b and 7 more", else "; there are none".
std::string what_there_is(std::string_view word, std::span<const std::string> names);

// "45s", "3m", "2h", "45d": as kubectl shows ages, two parts while they are small ("5m30s", "2d4h"). Negative ones are
// 0.
std::string short_duration(std::chrono::seconds duration);

// "1 object", "2 objects".
std::string count_of(std::int64_t count, std::string_view singular);

// "12.5 %", "1.08": with this many decimals.
std::string decimal(double value, int decimals);

}  // namespace sharder::ctl
