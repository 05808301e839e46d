#pragma once

#include <cstddef>
#include <filesystem>
#include <string>

#include "base/error.h"

namespace sharder {

// The bytes of a file that is expected to be small. kInvalid: "<path>: No such file or directory", or larger than
// `max_bytes`.
[[nodiscard]] Result<std::string> read_file(const std::filesystem::path& path,
                                            std::size_t max_bytes = std::size_t{1} << 20);

}  // namespace sharder
