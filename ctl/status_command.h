#pragma once

#include "ctl/context.h"
#include "ctl/status.h"
#include "kube/client/failure_kinds.h"

namespace sharder::ctl {

// What of a report is read.
struct StatusQuery {
  std::string ring;              // "": all
  std::string object_namespace;  // "": all
  bool pods = false;
};

// `early` is called with what is known before the objects are counted. An error: nothing is known.
Result<StatusReport> read_status(Cluster& cluster, const Options& options, const StatusQuery& query,
                                 const std::function<void(const StatusReport&)>& early);

// Whether a command that goes on tries again after this error: an API server that is away may come back. It is said,
// each kind once; `said` is cleared by who gets an answer.
bool passes(Console& console, const Error& error, kube::FailureKinds& said);

Result<ExitCode> run_status(Context& context);

}  // namespace sharder::ctl
