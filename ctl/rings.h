#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "ctl/cluster.h"
#include "membership/lease_state.h"
#include "membership/shard_lease.h"
#include "ring/ring_object.h"
#include "ring/ring_set.h"
#include "ring/snapshot.h"

namespace sharder::ctl {

struct Shard {
  membership::ShardLease lease;
  membership::LeaseState state;  // by the Lease's times and our clock
  bool available = false;        // nothing is taken from it before it has let go
  bool in_grace = false;         // it has gone, and keeps its place (protocol, 12)
  bool member = false;           // objects are assigned to it
};

// As the rule for members takes it (membership/ring_roster.h).
ring::ShardStatus status_of(const Shard& shard);
// The ring in the set. A ring that takes no part, because its name is no label, has no members.
std::shared_ptr<const ring::RingEntry> entry_of(const ring::RingSet& rings, const ring::RingObject& ring);

// "ready", "ready,cordoned", "dead,grace".
std::string state_text(const Shard& shard);

struct Condition {
  std::string type, status, reason, message;
};

// A ring with its Leases, as they stand in the cluster.
struct RingFacts {
  ring::RingObject object;
  std::vector<Condition> conditions;
  std::vector<Shard> shards;                     // sorted by name and namespace
  std::shared_ptr<const ring::RingEntry> entry;  // of the members

  const std::string& name() const { return object.spec.name; }
  const Condition* condition(std::string_view type) const;
  // A shard of this name that is a member or, if there is none, any.
  const Shard* find_shard(std::string_view name) const;
  std::vector<std::string> shard_names() const;
};

Result<RingFacts> decode_ring_facts(const nlohmann::json& ring);
// Gives each ring the shards of its name, and says which are available and which are members, as the sharder does
// (membership/ring_roster.h). Returns the shards whose ring does not exist.
std::vector<Shard> enrol(std::vector<RingFacts>& rings, std::vector<membership::ShardLease> leases, WallTime now);

struct Rings {
  std::vector<RingFacts> rings;  // sorted by name
  std::vector<Shard> strays;     // shards whose ring does not exist
};

// All rings, and all Leases with a ring label. kNotFound: the cluster has no ControllerRings; the message has the
// command that installs the CRD.
Result<Rings> read_rings(Cluster& cluster);
// kNotFound: names the rings that are like it, or that there are.
Result<RingFacts> read_ring(Cluster& cluster, const std::string& name);

// The ring's resources as the API server serves them.
struct RingResource {
  kube::Resource resource;
  ring::Role role;
};
std::vector<RingResource> resolve_resources(Cluster& cluster, const RingFacts& ring, std::vector<Gap>& gaps);

}  // namespace sharder::ctl
