#pragma once

#include <string>
#include <string_view>

#include "base/error.h"

namespace sharder::kube {

// A bearer token in a file, white space around it removed. kInvalid names the file: also when it is empty, or when the
// token cannot stand in a header.
Result<std::string> read_token(const std::string& path);

// Whether a text may stand in a header's value: no control characters.
bool valid_header_value(std::string_view text);

}  // namespace sharder::kube
