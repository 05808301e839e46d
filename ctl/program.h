#pragma once

#include <string>
#include <vector>

namespace sharder::ctl {

// The whole program, from its arguments without its name to its exit code.
int run_program(const std::vector<std::string>& arguments);

}  // namespace sharder::ctl
