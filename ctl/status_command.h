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

Result<ExitCode> run_status(Context& context);

}  // namespace sharder::ctl
