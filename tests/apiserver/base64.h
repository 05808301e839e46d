#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace sharder::apiserver {

// RFC 4648, section 4, with padding.
std::string base64_encode(std::string_view bytes);
// nullopt when it is none; line breaks are skipped, padding may be missing.
std::optional<std::string> base64_decode(std::string_view text);

}  // namespace sharder::apiserver
