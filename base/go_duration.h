#pragma once

#include <chrono>
#include <optional>
#include <string_view>

namespace sharder {

// Go's time.ParseDuration: "1h2m3.5s", "-1.5h", "300ms", "0"; units ns, us (µs), ms, s, m, h. nullopt for anything
// else, and for a duration that 64 bits of nanoseconds cannot hold.
std::optional<std::chrono::nanoseconds> parse_go_duration(std::string_view text);

}  // namespace sharder
