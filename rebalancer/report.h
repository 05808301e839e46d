#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ring/controller_ring.h"
#include "ring/ring_set.h"

// What the leader knows of its work without asking anybody: plain values, for the status page.
namespace sharder::rebalancer {

// The objects of one resource, as the last pass over all of it saw them, before the moves that it led to.
struct ObjectCount {
  std::chrono::nanoseconds age = {};                 // since the pass ended
  std::map<std::string, std::size_t> by_shard = {};  // "": the label names no available shard
};

// Objects of one resource that are not where they should be.
struct Strays {
  std::size_t objects = 0;
  std::chrono::nanoseconds oldest = {};  // for how long this replica has seen the oldest; 0 when there is none
  std::string example = {};              // "namespace/name" of the oldest, where it is known
};

struct ResourceReport {
  ring::GroupResource name = {};
  ring::Role role = ring::Role::kNone;
  std::size_t pending = 0;   // moves that were found and are not carried out
  std::size_t draining = 0;  // by the last count of drain labels
  std::optional<std::chrono::nanoseconds> oldest_drain = {};
  std::uint64_t carried_out = 0;            // moves since this replica works for the ring's spec
  std::optional<ObjectCount> objects = {};  // nullopt: no pass has ended yet
  std::optional<Strays> unassigned = {};    // nullopt: not counted yet
};

// Moves from one shard to another.
struct Flow {
  std::size_t pending = 0;   // patches that wait or are under way
  std::size_t draining = 0;  // objects whose shard has not let go yet
  bool operator==(const Flow&) const = default;
};
// By (from, to); "" stands for no shard, and for shards past a limit.
using Flows = std::map<std::pair<std::string, std::string>, Flow>;

struct RingReport {
  std::vector<ResourceReport> resources = {};
  Flows flows = {};
};

// The rings for which this replica works, by name.
using Report = std::map<std::string, RingReport, std::less<>>;

}  // namespace sharder::rebalancer
