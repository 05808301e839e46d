#pragma once

#include <string_view>

namespace sharder::ops {

// The contents of status.html. CMake writes the source file that defines it.
extern const std::string_view kStatusHtml;

}  // namespace sharder::ops
