#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "ctl/access.h"
#include "ctl/cluster.h"
#include "ctl/doctor.h"

// `doctor --pre`: whether a cluster is ready for an installation.
namespace sharder::ctl {

struct ClusterFacts {
  std::string version = {};  // "v1.36.3"
  int minor = 0;             // 36; 0: not known
  std::vector<std::string> missing_apis = {};
  std::vector<Permission> missing_permissions = {};
  nlohmann::json crd = {};                // null: there is none
  std::optional<bool> cert_manager = {};  // nullopt: not known
  struct AggregatedApi {
    std::string name, message;
  };
  std::vector<AggregatedApi> silent_apis = {};
  nlohmann::json sharder_namespace = {};  // null: there is none
};

// {"major": "1", "minor": "36+"} → 36; nullopt for anything else.
std::optional<int> minor_version(const nlohmann::json& version);
// Pure.
std::vector<Finding> examine_cluster(const ClusterFacts& facts);

// Reads and decides. An error: the API server does not even show its version.
Result<Diagnosis> examine_before_installation(Cluster& cluster, const Options& options);

}  // namespace sharder::ctl
