#pragma once

#include <string>
#include <string_view>

namespace sharder {

// Appends `text` as a JSON string (RFC 8259, 7), quotes included. Bytes from 0x80 on pass unchanged: the result is
// UTF-8 when `text` is. Allocates only when `out` has to grow.
void append_json_string(std::string& out, std::string_view text);

}  // namespace sharder
