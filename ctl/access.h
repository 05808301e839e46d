#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ctl/cluster.h"
#include "ctl/finding.h"
#include "ctl/rings.h"

namespace sharder::ctl {

// Something that somebody has to be allowed to do.
struct Permission {
  std::string verb;
  ring::GroupResource resource;
  std::string subresource = {};
  std::string object_namespace = {};  // "": in all
  std::string name = {};              // "": of any name
};
// "patch controllerrings.sharding.timebertt.dev/status"
std::string to_string(const Permission& permission);

// What the sharder needs in every cluster (protocol, 8), and for a ring.
std::vector<Permission> needs_of_sharder(const std::string& sharder_namespace);
std::vector<Permission> needs_of_ring(const RingFacts& ring);

// The `missing` of the sharder's `needs`: a finding for each resource. `ring`: "" for what it needs everywhere. Pure.
std::vector<Finding> examine_access(const std::string& ring, const std::string& service_account,
                                    const std::vector<Permission>& missing);

struct ServiceAccount {
  std::string object_namespace, name;
};
// Whether the caller may, by a SelfSubjectAccessReview.
Result<bool> caller_may(Cluster& cluster, const Permission& permission);
// Whether a ServiceAccount may, by a SubjectAccessReview.
Result<bool> may(Cluster& cluster, const ServiceAccount& account, const Permission& permission);

}  // namespace sharder::ctl
