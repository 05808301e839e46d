#pragma once

#include <string>
#include <string_view>

#include "base/error.h"

// Base64 with padding (RFC 4648, 4), as Go's base64.StdEncoding.
namespace sharder {

std::string encode_base64(std::string_view bytes);
// Allocates only when `out` has to grow.
void append_base64(std::string& out, std::string_view bytes);

// Line breaks are skipped. kInvalid: "not valid base64".
Result<std::string> decode_base64(std::string_view text);

}  // namespace sharder
