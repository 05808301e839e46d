#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/error.h"
#include "kube/codec/precondition.h"

namespace sharder::membership {

struct LeaseId {
  std::string lease_namespace;
  std::string name;
  auto operator<=>(const LeaseId&) const = default;
};

// "namespace/name", for messages and logs.
std::string to_string(const LeaseId& id);

// The fields of a shard's Lease (protocol, 3) that matter here: a plain value. A field of the wrong type, or with a
// value that makes no sense, counts as missing, so that decisions know only one kind of bad Lease.
struct ShardLease {
  LeaseId id;
  std::string uid;
  std::string resource_version;
  std::string ring;         // value of the ring label
  std::string state_label;  // "" for none
  bool cordoned = false;    // by the annotation, protocol 12

  std::string holder_identity;
  std::optional<std::chrono::seconds> lease_duration;  // 1 s .. 2^31-1 s
  std::optional<WallTime> acquire_time;
  std::optional<WallTime> renew_time;
  std::int64_t lease_transitions = 0;

  bool operator==(const ShardLease&) const = default;

  // Whether the shard holds its own Lease. That makes it available, no clock does (protocol, 3).
  bool held() const { return holder_identity == id.name; }
  // Whether nobody holds it: the shard has exited in order.
  bool released() const { return holder_identity.empty(); }
  // Whether `other` has the same holder and times: then nobody renewed, released or took over the Lease between the
  // two. Labels and resourceVersion may differ.
  bool same_tenure(const ShardLease& other) const;
};

// From a Lease object's JSON. kInvalid only when it is no object with a name; nonsense inside is no error.
Result<ShardLease> decode_shard_lease(std::string_view json);

// Identity with which the sharder takes over a dead shard's Lease (protocol, 1).
inline constexpr std::string_view kTakeOverIdentity = "shardlease-controller";

// Body of the PUT that takes the Lease in `document` over: holderIdentity kTakeOverIdentity, twice the duration,
// acquireTime = renewTime = now, leaseTransitions + 1, everything else (resourceVersion included) as it stands there.
Result<kube::VersionedObject> take_over_body(std::string_view document, std::chrono::seconds lease_duration,
                                             WallTime now);

}  // namespace sharder::membership
