#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "ctl/cluster.h"
#include "ctl/finding.h"
#include "ctl/rings.h"
#include "ctl/status.h"

// What doctor makes of facts that were read: rings, Leases, webhook configurations, replicas of the sharder. Pure.
namespace sharder::ctl {

// What a ring and its Leases show by themselves.
std::vector<Finding> examine_ring(const RingFacts& ring, WallTime now);
// `resource` is one that the API server does not serve.
Finding examine_unknown_resource(const RingFacts& ring, const std::string& resource);
// Two rings with the same main resource. With `only`, of this ring.
std::vector<Finding> examine_shared_resources(const std::vector<RingFacts>& rings, const std::string& only);
std::vector<Finding> examine_strays(const std::vector<Shard>& strays);

// Where the API server calls a webhook.
struct WebhookTarget {
  std::string host;  // that the certificate has to be for: of the url, or "sharder.sharding-system.svc"
  std::string port;
  bool is_service = false;
};
// nullopt: the configuration has no clientConfig that makes sense.
std::optional<WebhookTarget> webhook_target(const nlohmann::json& configuration);
// Fields of the ring's webhook that are not as the ring wants them: "rules", "failurePolicy", "clientConfig.path".
std::vector<std::string> changed_fields(const RingFacts& ring, const nlohmann::json& configuration);

// The chain that a webhook's server shows.
struct ServedCertificate {
  std::string where;  // "10.0.0.1:9443"
  std::string chain_pem;
};
// `configuration`: of the ring, null when there is none. Without a `served` certificate, the ring's condition
// WebhookReachable counts, which the sharder writes.
std::vector<Finding> examine_webhook(const RingFacts& ring, const nlohmann::json& configuration,
                                     const std::optional<ServedCertificate>& served, WallTime now);

// What a dry run of the API server showed of a ring's webhook.
struct DryRun {
  enum class Outcome { kLabelled, kNotLabelled, kNotTried };
  Outcome outcome = Outcome::kNotTried;
  std::string object = {};  // "secrets ns/name"
  std::string reason = {};  // of kNotTried
};
std::vector<Finding> examine_dry_run(const RingFacts& ring, const DryRun& dry_run);

std::vector<Finding> examine_leader(const LeaderFacts& leader);

// A running pod of the sharder.
struct SharderPod {
  std::string object_namespace, name, image;
  std::string webhook_port = "9443";
};
std::vector<Finding> examine_images(const std::vector<SharderPod>& pods);

// How one replica answers for keys whose shard is known.
struct ReplicaAnswers {
  std::string pod;  // "sharding-system/sharder-1"
  int asked = 0;
  int wrong = 0;
  std::string example = {};  // of a wrong one: "shard-a instead of shard-b"
  std::string failure = {};  // why it could not be asked; "": it could
};
std::vector<Finding> examine_answers(const RingFacts& ring, const std::vector<ReplicaAnswers>& answers);

// kNotPermitted or kNotAnswered, once for each verb and resource.
std::vector<Finding> findings_of(const std::vector<Gap>& gaps);

}  // namespace sharder::ctl
