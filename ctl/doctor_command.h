#pragma once

#include "ctl/context.h"

namespace sharder::ctl {

Result<ExitCode> run_doctor(Context& context);

}  // namespace sharder::ctl
