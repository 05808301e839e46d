#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "kube/client/resource.h"
#include "kube/codec/object_meta.h"
#include "kube/codec/precondition.h"
#include "ring/ring_set.h"

namespace sharder::rebalancer {

enum class MoveKind {
  kNone,        // nothing has to be done
  kStale,       // what was decided is out of date: the object has to be read. decide() never says so
  kReassign,    // the shard label becomes `shard`; a drain label goes
  kDrain,       // the drain label is put on: its shard is asked to let go
  kClearDrain,  // a drain label that is left over goes
};

// Where an object is and belongs: all that a decision about it needs besides the ring, so that it can be decided anew
// when the ring changes.
struct Placement {
  std::string key;        // by which its shard is chosen (ring::object_key); "": it is not sharded
  std::string shard;      // its shard label; "": none
  bool draining = false;  // it has the drain label
};

// What has to be done to one object.
struct Decision {
  MoveKind kind = MoveKind::kNone;
  std::string_view shard = {};   // of kReassign; lives as long as the ring
  bool has_drain_label = false;  // the object drains, or should not
  bool is_orphan = false;        // it has no live shard: it comes before those that have
  bool operator==(const Decision&) const = default;
};

// Stands for an object where moves and drains are remembered: a hash of its uid, or of its name where there is no uid
// (an aggregated API may have none). Two objects with the same hash are taken for one.
std::uint64_t object_hash(const kube::ObjectMeta& object);

// Replaces `placement` with the object's: reuse it to save allocations. `role` and `resource` are those of the list in
// which the object was found. Pure.
void find_placement(Placement& placement, const ring::RingEntry& entry, ring::Role role, const kube::Resource& resource,
                    const kube::ObjectMeta& object);

// The table of protocol.md, section 6, with section 9: what drains already is left alone, and a drain label on an
// object that is where it belongs goes. Pure.
Decision decide(const ring::RingEntry& entry, ring::Role role, const Placement& placement);

// The body of the merge patch that carries a decision out, in one patch, guarded by the resourceVersion it was decided
// on (design, invariant 5).
std::string patch_body(const ring::RingEntry& entry, const Decision& decision, const kube::Precondition& precondition);

}  // namespace sharder::rebalancer
