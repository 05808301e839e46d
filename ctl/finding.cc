#include "ctl/finding.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <tuple>

#include "ctl/text.h"

namespace sharder::ctl {

namespace {

// In the order of the enumeration. scripts/docs.py reads it too: a line for each.
constexpr std::array kChecks{
    CheckFacts{Check::kServerVersion, "SHD001", "server-version", Severity::kWarning,
               "The API server has a version that is not supported"},
    CheckFacts{Check::kApiNotServed, "SHD002", "api-not-served", Severity::kError,
               "The API server does not serve an API that the sharder needs"},
    CheckFacts{Check::kInstallPermission, "SHD003", "install-permission", Severity::kError,
               "You may not do what an installation does"},
    CheckFacts{Check::kCrd, "SHD004", "crd", Severity::kError,
               "The CustomResourceDefinition of rings is not the one that the sharder needs"},
    CheckFacts{Check::kCertManager, "SHD005", "cert-manager", Severity::kInfo, "cert-manager is not installed"},
    CheckFacts{Check::kAggregatedApi, "SHD006", "aggregated-api", Severity::kWarning,
               "An aggregated API does not answer"},
    CheckFacts{Check::kNamespace, "SHD007", "namespace", Severity::kWarning,
               "The sharder's namespace is being deleted"},
    CheckFacts{Check::kCrdMissing, "SHD008", "crd-missing", Severity::kInfo,
               "The CustomResourceDefinition of rings is not installed"},
    CheckFacts{Check::kUnassigned, "SHD101", "unassigned", Severity::kError, "An object has no shard"},
    CheckFacts{Check::kOnDeadShard, "SHD102", "on-dead-shard", Severity::kError,
               "An object is on a shard that is dead"},
    CheckFacts{Check::kOnUnknownShard, "SHD103", "on-unknown-shard", Severity::kError,
               "An object's label names a shard that has no Lease"},
    CheckFacts{Check::kMisplaced, "SHD104", "misplaced", Severity::kWarning,
               "An object is on another shard than it belongs to, and does not drain"},
    CheckFacts{Check::kAwayFromOwner, "SHD105", "away-from-owner", Severity::kError,
               "A controlled object is on another shard than its owner"},
    CheckFacts{Check::kDrainOverdue, "SHD106", "drain-overdue", Severity::kError,
               "A shard has not let go of an object for long"},
    CheckFacts{Check::kDrainWithoutShard, "SHD107", "drain-without-shard", Severity::kWarning,
               "An object has a drain label and no shard label"},
    CheckFacts{Check::kRingNotReady, "SHD201", "ring-not-ready", Severity::kError, "A ring is not ready"},
    CheckFacts{Check::kNoMembers, "SHD202", "no-members", Severity::kError, "A ring has no available shard"},
    CheckFacts{Check::kUnknownResource, "SHD203", "unknown-resource", Severity::kError,
               "A ring names a resource that the API server does not serve"},
    CheckFacts{Check::kSharedResource, "SHD204", "shared-resource", Severity::kInfo,
               "Two rings have the same main resource"},
    CheckFacts{Check::kLeaseTwice, "SHD205", "lease-twice", Severity::kWarning,
               "Two namespaces have a Lease of the same shard"},
    CheckFacts{Check::kNameTooLong, "SHD206", "name-too-long", Severity::kError,
               "A shard's name cannot be the value of a label"},
    CheckFacts{Check::kLeaseWithoutRing, "SHD207", "lease-without-ring", Severity::kWarning,
               "A Lease names a ring that does not exist"},
    CheckFacts{Check::kLeaseNotRenewed, "SHD208", "lease-not-renewed", Severity::kWarning,
               "A shard does not renew its Lease"},
    CheckFacts{Check::kShardHangs, "SHD209", "shard-hangs", Severity::kError,
               "A shard renews its Lease and lets go of nothing"},
    CheckFacts{Check::kWebhookMissing, "SHD301", "webhook-missing", Severity::kError,
               "A ring has no webhook configuration"},
    CheckFacts{Check::kWebhookChanged, "SHD302", "webhook-changed", Severity::kWarning,
               "A ring's webhook configuration is not as its ring wants it"},
    CheckFacts{Check::kCertificateNotTrusted, "SHD303", "certificate-not-trusted", Severity::kError,
               "The API server does not trust the webhook's certificate"},
    CheckFacts{Check::kCertificateExpires, "SHD304", "certificate-expires", Severity::kWarning,
               "A certificate of the webhook expires soon"},
    CheckFacts{Check::kWebhookSilent, "SHD305", "webhook-silent", Severity::kError,
               "The webhook does not give a shard to a new object"},
    CheckFacts{Check::kWebhookNotChecked, "SHD306", "webhook-not-checked", Severity::kInfo,
               "Whether the webhook answers could not be checked"},
    CheckFacts{Check::kSharderPermission, "SHD401", "sharder-permission", Severity::kError,
               "The sharder lacks a permission"},
    CheckFacts{Check::kNotPermitted, "SHD402", "not-permitted", Severity::kWarning,
               "You may not read what a check needs"},
    CheckFacts{Check::kNotAnswered, "SHD403", "not-answered", Severity::kWarning,
               "A check got no usable answer from the API server"},
    CheckFacts{Check::kNoLeader, "SHD501", "no-leader", Severity::kError, "No replica of the sharder leads"},
    CheckFacts{Check::kReplicasDisagree, "SHD502", "replicas-disagree", Severity::kError,
               "A replica of the sharder does not see the shards that there are"},
    CheckFacts{Check::kVersionsApart, "SHD503", "versions-apart", Severity::kWarning,
               "Replicas of the sharder have different images"},
};
static_assert([] {
  for (std::size_t at = 0; at < kChecks.size(); ++at) {
    if (kChecks[at].check != static_cast<Check>(at)) {
      return false;
    }
  }
  return kChecks.back().check == Check::kVersionsApart;
}());

constexpr std::string_view kPages = "docs/operate/doctor/";

Tone tone_of(Severity severity) {
  switch (severity) {
    case Severity::kInfo:
      return Tone::kPlain;
    case Severity::kWarning:
      return Tone::kWarn;
    case Severity::kError:
      return Tone::kBad;
  }
  return Tone::kPlain;
}

}  // namespace

std::string_view to_string(Severity severity) {
  switch (severity) {
    case Severity::kInfo:
      return "info";
    case Severity::kWarning:
      return "warning";
    case Severity::kError:
      return "error";
  }
  return "";
}

std::span<const CheckFacts> checks() {
  return kChecks;
}

const CheckFacts& facts_of(Check check) {
  return kChecks.at(static_cast<std::size_t>(check));
}

void sort_findings(std::vector<Finding>& findings) {
  std::ranges::sort(findings, {}, [](const Finding& one) {
    return std::tuple(-static_cast<int>(one.severity()), one.check, one.ring, one.object, one.message);
  });
}

ExitCode exit_code_of(const std::vector<Finding>& findings, Severity threshold) {
  ExitCode code = ExitCode::kOk;
  for (const Finding& one : findings) {
    if (one.check == Check::kNotPermitted) {
      code = worse(code, ExitCode::kNotAllowed);
    } else if (one.severity() >= threshold) {
      code = worse(code, ExitCode::kFindings);
    }
  }
  return code;
}

std::string render_findings(const std::vector<Finding>& findings, const Style& style) {
  if (findings.empty()) {
    return "no findings\n";
  }
  std::string text;
  for (const Finding& one : findings) {
    const CheckFacts& facts = facts_of(one.check);
    text += colored(std::string(facts.code) + " " + std::string(to_string(facts.severity)), tone_of(facts.severity),
                    style) +
            " " + std::string(facts.name) + "\n";
    std::vector<std::pair<std::string, Cell>> lines;
    const auto add = [&lines](const char* name, const std::string& value) {
      if (!value.empty()) {
        lines.emplace_back(name, value);
      }
    };
    add("  ring", one.ring);
    add("  object", one.object + (one.count > 1 ? ", and " + std::to_string(one.count - 1) + " more" : ""));
    add("  found", one.message);
    add("  do", one.advice);
    add("  page", std::string(kPages) + std::string(facts.code) + ".md");
    text += render_facts(lines, style);
  }
  return text;
}

nlohmann::ordered_json to_json(const std::vector<Finding>& findings) {
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  for (const Finding& one : findings) {
    const CheckFacts& facts = facts_of(one.check);
    all.push_back({{"code", facts.code},
                   {"name", facts.name},
                   {"severity", to_string(facts.severity)},
                   {"ring", one.ring},
                   {"object", one.object},
                   {"count", one.count},
                   {"message", one.message},
                   {"advice", one.advice},
                   {"page", std::string(kPages) + std::string(facts.code) + ".md"}});
  }
  return all;
}

std::string object_name(std::string_view object_namespace, std::string_view name) {
  return std::string(object_namespace) + (object_namespace.empty() ? "" : "/") + std::string(name);
}

}  // namespace sharder::ctl
