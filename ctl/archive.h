#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/error.h"

namespace sharder::ctl {

// The bytes of a tar.gz with these files, path → contents, below the folder `top`. The same input gives the same bytes:
// files are sorted, belong to nobody and have no time. Paths with their folder have at most 100 bytes; longer ones are
// cut.
std::string tar_gz(std::string_view top, const std::map<std::string, std::string>& files);

}  // namespace sharder::ctl
