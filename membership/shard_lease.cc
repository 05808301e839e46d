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

const json* member(const json& object, std::string_view key) {
  if (!object.is_object()) {
    return nullptr;
  }
  const auto found = object.find(key);
  return found == object.end() ? nullptr : &*found;
}

std::string text(const json& object, std::string_view key) {
  const json* value = member(object, key);
  return value != nullptr && value->is_string() ? value->get<std::string>() : std::string();
}

// The integer there if it lies in [min, 2^31-1]. Unsigned numbers are compared as such: 2^64-1 must not turn into -1.
std::optional<std::int64_t> int32_at(const json& object, std::string_view key, std::int64_t min) {
  const json* value = member(object, key);
  if (value == nullptr || !value->is_number_integer()) {
    return std::nullopt;
  }
  if (value->is_number_unsigned() && value->get<std::uint64_t>() > static_cast<std::uint64_t>(kMaxInt32)) {
    return std::nullopt;
  }
  const auto number = value->get<std::int64_t>();
  return number >= min && number <= kMaxInt32 ? std::optional(number) : std::nullopt;
}

const json kNothing = json::object();

const json& object_at(const json& object, std::string_view key) {
  const json* value = member(object, key);
  return value != nullptr && value->is_object() ? *value : kNothing;
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
  const json& metadata = object_at(*document, "metadata");
  const json& labels = object_at(metadata, "labels");
  const json& spec = object_at(*document, "spec");
  ShardLease lease;
  lease.id = {.lease_namespace = text(metadata, "namespace"), .name = text(metadata, "name")};
  if (lease.id.name.empty()) {
    return fail(ErrorCode::kInvalid, "decode Lease: it has no name");
  }
  lease.uid = text(metadata, "uid");
  lease.resource_version = text(metadata, "resourceVersion");
  lease.ring = text(labels, ring::kRingLabel);
  lease.state_label = text(labels, ring::kStateLabel);
  lease.holder_identity = text(spec, "holderIdentity");
  lease.lease_duration = int32_at(spec, "leaseDurationSeconds", 1).transform([](std::int64_t seconds) {
    return std::chrono::seconds(seconds);
  });
  lease.acquire_time = parse_rfc3339(text(spec, "acquireTime"));
  lease.renew_time = parse_rfc3339(text(spec, "renewTime"));
  lease.lease_transitions = int32_at(spec, "leaseTransitions", 0).value_or(0);
  return lease;
}

Result<kube::GuardedObject> take_over_body(std::string_view document, std::chrono::seconds lease_duration,
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
  const std::int64_t transitions = int32_at(spec, "leaseTransitions", 0).value_or(0);
  spec["holderIdentity"] = kTakeOverIdentity;
  spec["leaseDurationSeconds"] = std::min<std::int64_t>(2 * lease_duration.count(), kMaxInt32);
  spec["acquireTime"] = spec["renewTime"] = format_micro_time(now);
  spec["leaseTransitions"] = std::min<std::int64_t>(transitions + 1, kMaxInt32);
  auto body = kube::GuardedObject::of(*lease);
  return body ? std::move(body) : fail("take over Lease", std::move(body.error()));
}

}  // namespace sharder::membership
