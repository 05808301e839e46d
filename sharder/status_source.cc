#include "sharder/status_source.h"

#include <chrono>
#include <map>
#include <string>

namespace sharder::app {
namespace {

// Points of a picture of the ring: each is half a degree.
constexpr std::size_t kArcs = 720;

double seconds(std::chrono::nanoseconds duration) {
  return std::chrono::duration<double>(duration).count();
}

ops::ResourceLine resource_line(const rebalancer::ResourceReport& resource) {
  ops::ResourceLine line{.name = to_string(resource.name),
                         .main = resource.role == ring::Role::kMain,
                         .pending = resource.pending,
                         .draining = resource.draining,
                         .oldest_drain_seconds = seconds(resource.oldest_drain.value_or(std::chrono::seconds(0))),
                         .moves = resource.carried_out};
  if (resource.objects) {
    std::size_t objects = 0;
    for (const auto& [shard, count] : resource.objects->by_shard) {
      objects += count;
    }
    line.objects = objects;
    line.counted_seconds_ago = seconds(resource.objects->age);
  }
  if (resource.unassigned) {
    line.unassigned = resource.unassigned->objects;
    line.oldest_unassigned_seconds = seconds(resource.unassigned->oldest);
  }
  return line;
}

// The objects of all resources, by shard; nullopt while a resource is not counted.
std::optional<std::map<std::string, std::size_t>> objects_by_shard(const rebalancer::RingReport& report) {
  std::map<std::string, std::size_t> objects;
  for (const rebalancer::ResourceReport& resource : report.resources) {
    if (!resource.objects) {
      return std::nullopt;
    }
    for (const auto& [shard, count] : resource.objects->by_shard) {
      objects[shard] += count;
    }
  }
  return objects;
}

void add_report(ops::RingStatus& line, const rebalancer::RingReport& report) {
  for (const rebalancer::ResourceReport& resource : report.resources) {
    line.resources.push_back(resource_line(resource));
  }
  for (const auto& [between, flow] : report.flows) {
    line.moves.push_back(
        {.from = between.first, .to = between.second, .pending = flow.pending, .draining = flow.draining});
  }
  if (const auto objects = objects_by_shard(report)) {
    for (ops::ShardLine& shard : line.shards) {
      const auto found = objects->find(shard.name);
      shard.objects = found == objects->end() ? 0 : found->second;
    }
  }
}

ops::RingStatus ring_line(const ring::RingStatus& status, const ring::RingEntry* entry) {
  ops::RingStatus line{.name = status.spec.name,
                       .error = status.spec_error,
                       .deleting = status.deleting,
                       .webhook_reachable = status.webhook_reachable};
  for (const ring::ShardStatus& shard : status.shards) {
    line.shards.push_back({.name = shard.name,
                           .lease_namespace = shard.lease_namespace,
                           .state = shard.state,
                           .available = shard.available,
                           .in_grace = shard.in_grace,
                           .cordoned = shard.cordoned});
  }
  if (entry != nullptr) {
    line.members = entry->ring().shards();
    line.shares = entry->ring().shares();
    line.arcs = entry->ring().sample(kArcs);
  }
  return line;
}

}  // namespace

std::vector<ops::RingStatus> ring_lines(const ring::Snapshot* snapshot, const ring::RingSet* ring_set,
                                        const rebalancer::Report& report) {
  std::vector<ops::RingStatus> lines;
  if (snapshot == nullptr) {
    return lines;
  }
  for (const auto& [name, status] : snapshot->rings) {
    lines.push_back(ring_line(*status, ring_set == nullptr ? nullptr : ring_set->find(name)));
    if (const auto found = report.find(name); found != report.end()) {
      add_report(lines.back(), found->second);
    }
  }
  return lines;
}

}  // namespace sharder::app
