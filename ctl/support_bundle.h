#pragma once

#include <chrono>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "ctl/cluster.h"
#include "ctl/context.h"

namespace sharder::ctl {

// What a support bundle may show of an object: without annotations and managedFields, which may hold a copy of the
// whole object, and without the values of environment variables. Pure.
nlohmann::json without_secrets(nlohmann::json object);

// The files of a support bundle, path → contents. It reads no Secrets and no objects of users; of those, status and
// doctor have names. What cannot be read is in incomplete.json.
struct SupportBundle {
  std::map<std::string, std::string> files = {};
  std::vector<Gap> gaps = {};
};
SupportBundle read_support_bundle(Cluster& cluster, const Options& options, std::chrono::milliseconds overdue);

}  // namespace sharder::ctl
