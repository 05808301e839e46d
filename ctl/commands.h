#pragma once

#include <span>

#include "ctl/command_line.h"

namespace sharder::ctl {

// All commands, in the order of the help.
std::span<const Command> commands();

}  // namespace sharder::ctl
