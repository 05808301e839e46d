#pragma once

#include "ctl/context.h"

// Commands that change a ring or a shard's Lease, by one annotation each. Sharder acts on them; the Go project's
// sharder takes no notice.
namespace sharder::ctl {

Result<ExitCode> run_rebalance(Context& context);
Result<ExitCode> run_cordon(Context& context);
Result<ExitCode> run_uncordon(Context& context);
Result<ExitCode> run_drain(Context& context);

}  // namespace sharder::ctl
