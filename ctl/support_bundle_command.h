#pragma once

#include "ctl/context.h"

namespace sharder::ctl {

Result<ExitCode> run_support_bundle(Context& context);

}  // namespace sharder::ctl
