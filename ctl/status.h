#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "ctl/census.h"
#include "ctl/exit_code.h"
#include "ctl/rings.h"
#include "ctl/selection.h"
#include "ctl/table.h"

namespace sharder::ctl {

// The leader election's Lease of the sharder.
struct LeaderFacts {
  std::string lease;        // "sharding-system/sharder"
  std::string holder = {};  // "": nobody leads
  std::optional<WallTime> renewed = {};
  bool expired = false;

  bool leads() const { return !holder.empty() && !expired; }
};

struct ResourceStatus {
  RingResource resource;
  Census census;
};

struct RingReport {
  RingFacts ring;
  Selection selection = {};
  std::optional<WallTime> certificate_expiry = {};  // of the certificate of the caBundle that lasts longest
  std::vector<ResourceStatus> resources = {};
  Census census = {};                            // the sum
  std::map<std::string, std::string> pods = {};  // of shards, "namespace/name" → what is known of the pod; for -o wide
  bool complete = true;                          // all resources could be listed
};

// What `status` knows: a plain value.
struct StatusReport {
  WallTime now = {};
  std::optional<LeaderFacts> leader = {};  // nullopt: it may not be read
  std::vector<RingReport> rings = {};
  std::vector<Shard> strays = {};  // their ring does not exist
  std::vector<Gap> gaps = {};
};

LeaderFacts decode_leader(const nlohmann::json& lease, WallTime now);

// What is not as it ought to be, a sentence each: no leader, a ring that is not ready or has no available shard,
// unassigned objects, a certificate that has expired. Objects that move are no finding.
std::vector<std::string> findings(const StatusReport& report);
// kFindings with findings; worse when something could not be read.
ExitCode exit_code_of(const StatusReport& report);

// Leader, and what is known of a ring before its objects are counted.
std::string render_leader(const StatusReport& report, const Style& style);
// A line for each ring; `shards`: and below them a line for each shard of each ring; `wide`: with its Lease and pod.
std::string render_status(const StatusReport& report, bool shards, bool wide, const Style& style);
nlohmann::ordered_json to_json(const StatusReport& report);
// Of such a document, what does not change while nothing happens: without times.
nlohmann::ordered_json without_times(nlohmann::ordered_json document);

// When a webhook's caBundle is of no use any more: during a rotation it has an old and a new certificate, and one that
// is valid is enough. nullopt: it has none.
std::optional<WallTime> last_expiry(const std::string& ca_pem);

}  // namespace sharder::ctl
