#pragma once

#include "ctl/context.h"
#include "ctl/status.h"

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

// Whether a command that goes on tries again after this error, which is said: an API server that is away may come back.
bool passes(Console& console, const Error& error);

Result<ExitCode> run_status(Context& context);

}  // namespace sharder::ctl
