#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ctl/exit_code.h"
#include "ctl/table.h"

namespace sharder::ctl {

enum class Severity { kInfo, kWarning, kError };
std::string_view to_string(Severity severity);  // "warning"

// What doctor looks for. Each has a code and a page docs/operate/doctor/CODE.md; the table is in finding.cc.
enum class Check {
  // Before an installation.
  kServerVersion,
  kApiNotServed,
  kInstallPermission,
  kCrd,
  kCertManager,
  kAggregatedApi,
  kNamespace,
  kCrdMissing,
  // Objects.
  kUnassigned,
  kOnDeadShard,
  kOnUnknownShard,
  kMisplaced,
  kAwayFromOwner,
  kDrainOverdue,
  kDrainWithoutShard,
  // Rings and shards.
  kRingNotReady,
  kNoMembers,
  kUnknownResource,
  kSharedResource,
  kLeaseTwice,
  kNameTooLong,
  kLeaseWithoutRing,
  kLeaseNotRenewed,
  kShardHangs,
  // The webhook.
  kWebhookMissing,
  kWebhookChanged,
  kCertificateNotTrusted,
  kCertificateExpires,
  kWebhookSilent,
  kWebhookNotChecked,
  // Permissions.
  kSharderPermission,
  kNotPermitted,
  kNotAnswered,
  // The sharder.
  kNoLeader,
  kReplicasDisagree,
  kVersionsApart,
};

// A code never gets another meaning, and one that is gone is not given again.
struct CheckFacts {
  Check check;
  std::string_view code;  // "SHD101"
  std::string_view name;  // "unassigned"
  Severity severity;
  std::string_view title;
};
std::span<const CheckFacts> checks();
const CheckFacts& facts_of(Check check);

// Something that is not as it ought to be: a plain value.
struct Finding {
  Check check;
  std::string ring = {};     // "": of no ring
  std::string object = {};   // "secrets ns/name": what to look at
  std::string message = {};  // what was found
  std::string advice = {};   // what to do
  std::int64_t count = 1;    // objects that it is about
  Severity severity() const { return facts_of(check).severity; }
};

// Worst first, then by code, ring and object.
void sort_findings(std::vector<Finding>& findings);
// kFindings when one is as bad as `threshold`; worse when something was not permitted or not answered.
ExitCode exit_code_of(const std::vector<Finding>& findings, Severity threshold);

// A few lines for each finding; "no findings" without one.
std::string render_findings(const std::vector<Finding>& findings, const Style& style);
nlohmann::ordered_json to_json(const std::vector<Finding>& findings);

// "ns/name", or "name" without a namespace.
std::string object_name(std::string_view object_namespace, std::string_view name);

}  // namespace sharder::ctl
