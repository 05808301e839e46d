#pragma once

#include "ctl/context.h"

namespace sharder::ctl {

Result<ExitCode> run_version(Context& context);

}  // namespace sharder::ctl
