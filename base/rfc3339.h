#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"

namespace sharder {

// The point in time that an RFC 3339 text names, or nullopt for anything else: "2026-11-23T07:46:01Z", with any number
// of decimals (those past the sixth are dropped) and with an offset ("+02:00") too. As strict as Go's time.RFC3339:
// four-digit year, capital T and Z, no leap second, no day that the month does not have.
std::optional<WallTime> parse_rfc3339(std::string_view text);

// metav1.MicroTime: "2026-11-23T07:46:01.418239Z", always UTC and exactly 6 decimals.
std::string format_micro_time(WallTime time);

// metav1.Time: "2026-11-23T07:46:01Z", always UTC, rounded down to the second.
std::string format_time(WallTime time);

}  // namespace sharder
