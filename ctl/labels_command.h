#pragma once

#include "ctl/context.h"

namespace sharder::ctl {

Result<ExitCode> run_labels_remove(Context& context);

}  // namespace sharder::ctl
