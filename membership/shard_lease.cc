#include "membership/shard_lease.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <tuple>

#include "base/rfc3339.h"
#include "kube/codec/json.h"
#include "ring/names.h"

namespace sharder::membership {

namespace {

using nlohmann::json;

// leaseDurationSeconds and leaseTransitions are int32 in the API.
constexpr std::int64_t kMaxInt32 = std::numeric_limits<std::int32_t>::max();

// The number at `pointer` if it lies in [min, 2^31-1].
std::optional<std::int64_t> int32_at(const json& object, const char* pointer, std::int64_t min) {
  const auto number = kube::int_at(object, pointer);
  return number && *number >= min && *number <= kMaxInt32 ? number : std::nullopt;
}

}  // namespace

std::string to_string(const LeaseId& id) {
  return id.lease_namespace + "/" + id.name;
}

bool ShardLease::same_tenure(const ShardLease& other) const {
  const auto tenure = [](const ShardLease& lease) {
    return std::tie(lease.holder_identity, lease.lease_duration, lease.acquire_time, lease.renew_time,
                    lease.lease_transitions);
  };
  return uid == other.uid && tenure(*this) == tenure(other);
}

Result<ShardLease> decode_shard_lease(std::string_view json_text) {
  const auto document = kube::parse_json(json_text);
  if (!document) {
    return fail("decode Lease", document.error());
  }
  const json& metadata = kube::value_at(*document, "/metadata");
  const json& labels = kube::value_at(metadata, "/labels");
  const json& annotations = kube::value_at(metadata, "/annotations");
  const json& spec = kube::value_at(*document, "/spec");
  ShardLease lease;
  lease.id = {.lease_namespace = kube::string_at(metadata, "/namespace"), .name = kube::string_at(metadata, "/name")};
  if (lease.id.name.empty()) {
    return fail(ErrorCode::kInvalid, "decode Lease: it has no name");
  }
  lease.uid = kube::string_at(metadata, "/uid");
  lease.resource_version = kube::string_at(metadata, "/resourceVersion");
  lease.ring = kube::string_of(kube::field_of(labels, ring::kRingLabel));
  lease.state_label = kube::string_of(kube::field_of(labels, ring::kStateLabel));
  lease.cordoned = kube::string_of(kube::field_of(annotations, ring::kCordonedAnnotation)) == "true";
  lease.holder_identity = kube::string_at(spec, "/holderIdentity");
  lease.lease_duration = int32_at(spec, "/leaseDurationSeconds", 1).transform([](std::int64_t seconds) {
    return std::chrono::seconds(seconds);
  });
  lease.acquire_time = parse_rfc3339(kube::string_at(spec, "/acquireTime"));
  lease.renew_time = parse_rfc3339(kube::string_at(spec, "/renewTime"));
  lease.lease_transitions = int32_at(spec, "/leaseTransitions", 0).value_or(0);
  return lease;
}

Result<kube::VersionedObject> take_over_body(std::string_view document, std::chrono::seconds lease_duration,
                                             WallTime now) {
  auto lease = kube::parse_json(document);
  if (!lease) {
    return fail("take over Lease", lease.error());
  }
  if (!lease->is_object()) {
    return fail(ErrorCode::kInvalid, "take over Lease: not an object");
  }
  json& spec = (*lease)["spec"];
  if (!spec.is_object()) {
    spec = json::object();
  }
  const std::int64_t transitions = int32_at(spec, "/leaseTransitions", 0).value_or(0);
  spec["holderIdentity"] = kTakeOverIdentity;
  spec["leaseDurationSeconds"] = std::min<std::int64_t>(2 * lease_duration.count(), kMaxInt32);
  spec["acquireTime"] = spec["renewTime"] = format_micro_time(now);
  spec["leaseTransitions"] = std::min<std::int64_t>(transitions + 1, kMaxInt32);
  auto body = kube::VersionedObject::of(*lease);
  return body ? std::move(body) : fail("take over Lease", std::move(body.error()));
}

}  // namespace sharder::membership
