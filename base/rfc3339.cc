#include "base/rfc3339.h"

#include <array>
#include <chrono>
#include <cstdio>

#include "base/ascii.h"

namespace sharder {

namespace {

using std::chrono::days;
using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::minutes;
using std::chrono::seconds;

// Takes fixed-width numbers and separators off the front of a text; after the first mismatch `ok` stays false.
struct Reader {
  std::string_view rest;
  bool ok = true;

  int number(int digits, int min, int max) {
    int value = 0;
    for (int i = 0; i < digits; ++i) {
      if (rest.empty() || !is_digit(rest.front())) {
        ok = false;
        return min;
      }
      value = value * 10 + (rest.front() - '0');
      rest.remove_prefix(1);
    }
    ok = ok && value >= min && value <= max;
    return value;
  }
  bool skip(char c) {
    if (rest.empty() || rest.front() != c) {
      return false;
    }
    rest.remove_prefix(1);
    return true;
  }
  void expect(char c) { ok = skip(c) && ok; }

  microseconds fraction() {
    if (!skip('.')) {
      return {};
    }
    ok = ok && !rest.empty() && is_digit(rest.front());
    microseconds value{};
    for (int unit = 100'000; !rest.empty() && is_digit(rest.front()); unit /= 10) {
      value += microseconds((rest.front() - '0') * unit);
      rest.remove_prefix(1);
    }
    return value;
  }
  // How far local time is ahead of UTC.
  seconds offset() {
    if (skip('Z')) {
      return {};
    }
    const bool west = skip('-');
    if (!west) {
      expect('+');
    }
    seconds ahead = hours(number(2, 0, 23));
    expect(':');
    ahead += minutes(number(2, 0, 59));
    return west ? -ahead : ahead;
  }
};

struct Parts {
  std::chrono::year_month_day date;
  std::chrono::hh_mm_ss<microseconds> time;

  explicit Parts(WallTime at) : date(std::chrono::floor<days>(at)), time(at - std::chrono::floor<days>(at)) {}
};

}  // namespace

std::optional<WallTime> parse_rfc3339(std::string_view text) {
  Reader in{text};
  const int year = in.number(4, 0, 9999);
  in.expect('-');
  const auto month = static_cast<unsigned>(in.number(2, 1, 12));
  in.expect('-');
  const auto day = static_cast<unsigned>(in.number(2, 1, 31));
  in.expect('T');
  microseconds time = hours(in.number(2, 0, 23));
  in.expect(':');
  time += minutes(in.number(2, 0, 59));
  in.expect(':');
  time += seconds(in.number(2, 0, 59));
  time += in.fraction();
  time -= in.offset();
  const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(month), std::chrono::day(day)};
  if (!in.ok || !in.rest.empty() || !date.ok()) {
    return std::nullopt;
  }
  return std::chrono::sys_days(date) + time;
}

std::string format_micro_time(WallTime time) {
  const Parts parts(time);
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%04d-%02u-%02uT%02ld:%02ld:%02ld.%06ldZ",
                static_cast<int>(parts.date.year()), static_cast<unsigned>(parts.date.month()),
                static_cast<unsigned>(parts.date.day()), parts.time.hours().count(), parts.time.minutes().count(),
                parts.time.seconds().count(), parts.time.subseconds().count());
  return text.data();
}

std::string format_time(WallTime time) {
  std::string text = format_micro_time(time);
  text.erase(text.size() - std::string_view(".000000Z").size());
  return text += 'Z';
}

}  // namespace sharder
