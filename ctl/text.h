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

// Lines of at most `width` bytes, cut at spaces; a longer word is cut.
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
