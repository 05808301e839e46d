#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "ring/ring.h"

// What the status page shows at one moment: plain values. sharder/ fills them.
namespace sharder::ops {

// A shard Lease, as ring::ShardStatus has it.
struct ShardLine {
  std::string name = {};
  std::string lease_namespace = {};
  std::string state = {};  // the Lease's state label, "" when it has none
  bool available = false;  // its Lease is held, or in grace
  bool in_grace = false;   // it is released, and the shard keeps its place
  bool cordoned = false;   // by its Lease's annotation
  // Objects that the leader's last passes found with this shard's label; nullopt: not counted, or not by this replica.
  std::optional<std::size_t> objects = {};
};

// A resource of a ring. The figures are the leader's.
struct ResourceLine {
  std::string name = {};  // "deployments.apps"
  bool main = false;      // else controlled
  std::size_t pending = 0;
  std::size_t draining = 0;
  double oldest_drain_seconds = 0;
  std::uint64_t moves = 0;  // carried out since this replica leads
  // By the last pass over all of it; nullopt: none has ended yet.
  std::optional<std::size_t> objects = {};
  std::optional<double> counted_seconds_ago = {};
  // Objects without an available shard, as controller_sharding_unassigned_objects has them; nullopt: not counted yet.
  std::optional<std::size_t> unassigned = {};
  double oldest_unassigned_seconds = 0;
};

// Moves from one shard to another; "": none, or shards that are not told apart.
struct MoveLine {
  std::string from = {};
  std::string to = {};
  std::size_t pending = 0;
  std::size_t draining = 0;
};

struct RingStatus {
  std::string name = {};
  std::string error = {};  // why its spec is invalid, "" when it is valid
  bool deleting = false;
  std::optional<bool> webhook_reachable = {};  // the condition of this name
  std::vector<std::string> members = {};       // in the ring; sorted
  std::vector<double> shares = {};             // of each member: its part of the ring
  std::vector<std::uint32_t> arcs = {};        // Ring::sample(): indexes of members
  std::vector<ShardLine> shards = {};
  // Empty where this replica does not lead.
  std::vector<ResourceLine> resources = {};
  std::vector<MoveLine> moves = {};
};

struct Status {
  std::string replica = {};  // its identity in the leader election
  std::string version = {};
  bool leads = false;
  std::string not_ready = {};                        // why /readyz is 503, "" when it is 200
  std::optional<WallTime> certificate_expires = {};  // the webhook's
  std::vector<RingStatus> rings = {};
};

// The answer to /status.json. Whatever stands in the names, it is valid JSON in UTF-8.
std::string to_json(const Status& status);

}  // namespace sharder::ops
