#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ctl/cluster.h"
#include "ctl/ring_checks.h"
#include "ctl/rings.h"

namespace sharder::ctl {

// The sharder's pods that run and do not end.
Result<std::vector<SharderPod>> read_sharder_pods(Cluster& cluster, const std::string& sharder_namespace);

// Names of objects that do not exist, and the shards that they belong to: every member is among them, at most 256.
// Pure.
std::vector<std::pair<std::string, std::string>> probe_names(const RingFacts& ring, const RingResource& resource);
// An admission review of such an object, and the shard in the answer; nullopt: it gives none. Pure.
nlohmann::json probe_review(const RingResource& resource, const std::string& name);
std::optional<std::string> answered_shard(const nlohmann::json& review);

// Asks each pod's webhook, through the API server's proxy, for objects whose shards are known from the Leases: a
// replica whose watch hangs has another ring. So it works with the Go sharder too, and needs no access to metrics.
std::vector<ReplicaAnswers> ask_replicas(Cluster& cluster, const RingFacts& ring, const RingResource& resource,
                                         const std::vector<SharderPod>& pods, std::vector<Gap>& gaps);

}  // namespace sharder::ctl
