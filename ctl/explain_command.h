#pragma once

#include "ctl/context.h"

namespace sharder::ctl {

Result<ExitCode> run_explain(Context& context);

}  // namespace sharder::ctl
