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
  kNone,        // nothing to do
  kStale,       // the decision is out of date: read the object. decide() never returns this
  kReassign,    // set the shard label to `shard`, remove a drain label
  kDrain,       // set the drain label to `shard`: the object's shard is asked to let it go there
  kClearDrain,  // remove a drain label that is left over
};

// Where an object is, and where it belongs: all that a decision about it needs besides the ring. With this the decision
// can be made anew when the ring changes.
struct Placement {
  std::string key;        // by which its shard is chosen (ring::object_key); "": it is not sharded
  std::string shard;      // its shard label; "": none
  bool draining = false;  // it has the drain label
};

// What has to be done to one object.
struct Decision {
  MoveKind kind = MoveKind::kNone;
  std::string_view shard = {};   // of kReassign and kDrain: where it belongs; lives as long as the ring
  bool has_drain_label = false;  // it drains, or the label is left over
  bool is_orphan = false;        // its shard label names no available shard: it is moved first
  bool operator==(const Decision&) const = default;
};

// Moves and drains of an object are remembered under this: a hash of its uid, or of its namespace and name if it has no
// uid (an aggregated API may have none). Two objects with the same hash are taken for one.
std::uint64_t object_hash(const kube::ObjectMeta& object);

// Replaces `placement` with the object's: reuse it to save allocations. `role` and `resource` are those of the list in
// which the object was found. Pure.
void find_placement(Placement& placement, const ring::RingEntry& entry, ring::Role role, const kube::Resource& resource,
                    const kube::ObjectMeta& object);

// The table of protocol.md, section 6, with section 9: an object that drains already is left alone, whatever its
// target, and an object that is where it belongs loses a drain label that is left over. Pure.
Decision decide(const ring::RingEntry& entry, ring::Role role, const Placement& placement);

// An object is *unassigned* when it should have a shard, and its label is missing, empty, or names no available
// shard of the ring (which may have none). Pure.
bool is_unassigned(const ring::RingEntry& entry, const Placement& placement);

// An object is *misplaced* when its label names an available shard, but not the one that the ring chooses, and that
// shard was not asked to let it go. Pure.
bool is_misplaced(const Decision& decision);

// Whether a drain's `target` is not the shard that the ring chooses any more: the members have changed since it was
// asked for, and when it is acknowledged the object is misplaced. Not so with "true" and "", which name no shard. Pure.
bool is_outdated(const ring::RingEntry& entry, const Placement& placement, std::string_view target);

// The body of the merge patch that carries a decision out, in one patch. Its precondition is the resourceVersion that
// was decided on (design, invariant 5).
std::string patch_body(const ring::RingEntry& entry, const Decision& decision, const kube::Precondition& precondition);

}  // namespace sharder::rebalancer
