#pragma once

#include "ctl/context.h"

namespace sharder::ctl {

Result<ExitCode> run_top(Context& context);

}  // namespace sharder::ctl
