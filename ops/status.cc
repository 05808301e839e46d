#include "ops/status.h"

#include <chrono>
#include <nlohmann/json.hpp>

namespace sharder::ops {
namespace {

using nlohmann::json;

template <class T>
json optional(const std::optional<T>& value) {
  return value ? json(*value) : json(nullptr);
}

json line(const ShardLine& shard) {
  return {{"name", shard.name},
          {"namespace", shard.lease_namespace},
          {"state", shard.state},
          {"available", shard.available},
          {"inGrace", shard.in_grace},
          {"cordoned", shard.cordoned},
          {"objects", optional(shard.objects)}};
}

json line(const ResourceLine& resource) {
  return {{"name", resource.name},
          {"main", resource.main},
          {"pending", resource.pending},
          {"draining", resource.draining},
          {"oldestDrainSeconds", resource.oldest_drain_seconds},
          {"moves", resource.moves},
          {"objects", optional(resource.objects)},
          {"countedSecondsAgo", optional(resource.counted_seconds_ago)},
          {"unassigned", optional(resource.unassigned)},
          {"oldestUnassignedSeconds", resource.oldest_unassigned_seconds}};
}

json line(const MoveLine& move) {
  return {{"from", move.from}, {"to", move.to}, {"pending", move.pending}, {"draining", move.draining}};
}

template <class Lines>
json list(const Lines& lines) {
  json all = json::array();
  for (const auto& one : lines) {
    all.push_back(line(one));
  }
  return all;
}

// [[member, length], ...]: neighbours with the same owner are one arc.
json arcs(const std::vector<std::uint32_t>& owners) {
  json all = json::array();
  for (std::size_t begin = 0; begin < owners.size();) {
    std::size_t end = begin + 1;
    while (end < owners.size() && owners[end] == owners[begin]) {
      ++end;
    }
    all.push_back({owners[begin], end - begin});
    begin = end;
  }
  return all;
}

json ring_object(const RingStatus& ring) {
  return {{"name", ring.name},
          {"error", ring.error},
          {"deleting", ring.deleting},
          {"webhookReachable", optional(ring.webhook_reachable)},
          {"members", ring.members},
          {"shares", ring.shares},
          {"arcs", arcs(ring.arcs)},
          {"shards", list(ring.shards)},
          {"resources", list(ring.resources)},
          {"moves", list(ring.moves)}};
}

}  // namespace

std::string to_json(const Status& status) {
  json rings = json::array();
  for (const RingStatus& ring : status.rings) {
    rings.push_back(ring_object(ring));
  }
  json expires = nullptr;
  if (status.certificate_expires) {
    expires = std::chrono::duration_cast<std::chrono::seconds>(status.certificate_expires->time_since_epoch()).count();
  }
  return json{{"replica", status.replica},    {"version", status.version},     {"leads", status.leads},
              {"notReady", status.not_ready}, {"certificateExpires", expires}, {"rings", rings}}
      .dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace sharder::ops
