#pragma once

#include "ctl/context.h"
#include "ctl/plan.h"

namespace sharder::ctl {

// What the flags of a plan ask for.
struct PlanRequest {
  Change change;
  double rate = 0;  // moves a second, for the estimate
  double most = 0;  // percent of the objects that may move
};

// kInvalid: no change; a number that is none, or out of its range.
Result<PlanRequest> read_plan_request(const Invocation& invocation);

Result<ExitCode> run_plan(Context& context);

}  // namespace sharder::ctl
