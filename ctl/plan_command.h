#pragma once

#include "ctl/context.h"

namespace sharder::ctl {

Result<ExitCode> run_plan(Context& context);

}  // namespace sharder::ctl
