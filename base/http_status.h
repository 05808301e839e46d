#pragma once

#include <string_view>

namespace sharder {

// The reason phrase of an HTTP status (RFC 9110, 15): "Not Found"; "" for one that is not known here.
std::string_view reason_phrase(int status);

}  // namespace sharder
