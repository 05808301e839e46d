#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ring/controller_ring.h"

// The state of the rings and their shards, apart from the assignment (RingSet): plain values. membership/ fills them;
// the controller of the rings and the metrics read them.
namespace sharder::ring {

// A shard Lease (protocol, 3). The same name in two namespaces gives two of them.
struct ShardStatus {
  std::string lease_namespace;
  std::string name;
  std::string uid;
  std::string state;       // the Lease's state label, "" when it has none
  bool available = false;  // by the Lease's data: held by its shard, or in grace
  bool in_grace = false;   // nobody holds it, and the shard keeps its place until it is taken over (protocol, 12)
  bool cordoned = false;   // by the Lease's annotation (protocol, 12)
  bool operator==(const ShardStatus&) const = default;
};

// One ControllerRing with all its shard Leases, those that are not in the ring included.
struct RingStatus {
  ControllerRing spec;
  std::string spec_error;  // why the spec is invalid, "" when it is valid
  bool deleting = false;   // has a deletionTimestamp

  // The values in the object's status; 0 before the first status.
  std::int64_t observed_generation = 0;
  std::int64_t status_shards = 0;
  std::int64_t status_available_shards = 0;
  std::optional<bool> ready = {};              // the condition Ready; nullopt: absent or Unknown
  std::optional<bool> webhook_reachable = {};  // the condition of this name; the same

  // Annotations (protocol, 12):
  std::string rebalance_requested_at = {};  // "": none
  std::chrono::nanoseconds grace_period{};  // 0: none
  std::string grace_period_error = {};      // why the annotation is no grace period, "" when it is one or absent

  std::vector<ShardStatus> shards;  // sorted by namespace and name
  std::int64_t available_shards = 0;
  bool all_cordoned = false;  // each available shard is cordoned, so the cordons have no effect
  bool operator==(const RingStatus&) const = default;
};

// All rings at one moment: immutable, safe from any thread. Published with each RingSet and when a state label or a
// ring's status changes; a bare renewal publishes nothing.
struct Snapshot {
  std::map<std::string, std::shared_ptr<const RingStatus>, std::less<>> rings;

  const RingStatus* find(std::string_view name) const {
    const auto found = rings.find(name);
    return found == rings.end() ? nullptr : found->second.get();
  }
};

}  // namespace sharder::ring
