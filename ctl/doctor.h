#pragma once

#include <chrono>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "base/clock.h"
#include "ctl/cluster.h"
#include "ctl/context.h"
#include "ctl/finding.h"

namespace sharder::ctl {

struct DoctorQuery {
  std::string ring;                   // "": all
  std::string object_namespace;       // "": all
  std::chrono::milliseconds overdue;  // a drain that takes longer is
};

// What doctor has found: a plain value.
struct Diagnosis {
  WallTime now = {};
  std::vector<std::string> rings = {};  // that were looked at
  std::vector<Finding> findings = {};   // sorted; what could not be read is one too
  std::vector<Gap> gaps = {};

  // Of findings as bad as `threshold`, and of gaps.
  ExitCode exit_code(Severity threshold) const;
};

// Reads all that the checks need, and has them decide. What looks wrong and may be on its way is read again after some
// seconds. An error: nothing is known.
Result<Diagnosis> diagnose(Cluster& cluster, const Options& options, const DoctorQuery& query);
nlohmann::ordered_json to_json(const Diagnosis& diagnosis);

}  // namespace sharder::ctl
