#pragma once

#include "ctl/context.h"

namespace sharder::ctl {

Result<ExitCode> run_events(Context& context);

}  // namespace sharder::ctl
