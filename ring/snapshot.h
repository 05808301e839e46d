#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ring/ring_object.h"

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
struct RingStatus : RingObject {
  std::vector<ShardStatus> shards = {};  // sorted by namespace and name
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
