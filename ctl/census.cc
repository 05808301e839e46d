#include "ctl/census.h"

#include <algorithm>

namespace sharder::ctl {

void Census::add(const Census& other) {
  for (const auto& [name, shard] : other.shards) {
    OfShard& sum = shards[name];
    sum.objects += shard.objects;
    sum.belonging += shard.belonging;
    sum.draining += shard.draining;
  }
  objects += other.objects;
  unassigned += other.unassigned;
  misplaced += other.misplaced;
  draining += other.draining;
  example = example.empty() ? other.example : example;
}

std::int64_t Census::objects_of(std::string_view shard) const {
  const auto found = shards.find(shard);
  return found == shards.end() ? 0 : found->second.objects;
}

double max_to_mean(const std::vector<std::string>& members,
                   const std::function<std::int64_t(const std::string&)>& objects_of) {
  std::int64_t most = 0, all = 0;
  for (const std::string& member : members) {
    const std::int64_t count = objects_of(member);
    most = std::max(most, count);
    all += count;
  }
  return all == 0 ? 0 : static_cast<double>(most) * static_cast<double>(members.size()) / static_cast<double>(all);
}

Counter::Counter(const RingFacts& ring, const RingResource& resource, const Selection& selection)
    : ring_(ring), resource_(resource), selection_(selection) {}

void Counter::count(const kube::ObjectMeta& object) {
  const auto selected = selection_.selects(resource_.resource, object);
  if (selected == false) {
    return;
  }
  rebalancer::find_placement(placement_, *ring_.entry, resource_.role, resource_.resource, object);
  if (placement_.key.empty()) {
    return;
  }
  if (!selected && placement_.shard.empty()) {
    uncertain_ = true;
    return;
  }
  ++census_.objects;
  const auto owner = ring_.entry->ring().owner(placement_.key);
  if (owner) {
    ++census_.shards[std::string(*owner)].belonging;
  }
  if (placement_.draining) {
    ++census_.draining;
  }
  const Shard* const shard = placement_.shard.empty() ? nullptr : ring_.find_shard(placement_.shard);
  if (!placement_.shard.empty()) {
    Census::OfShard& counted = census_.shards[placement_.shard];
    ++counted.objects;
    counted.draining += placement_.draining ? 1 : 0;
  }
  if (shard == nullptr || !shard->available) {
    ++census_.unassigned;
    if (census_.example.empty()) {
      census_.example = name_of(resource_.resource) + " " +
                        (object.object_namespace.empty() ? "" : object.object_namespace + "/") + object.name;
    }
  } else if (owner && placement_.shard != *owner) {
    ++census_.misplaced;
  }
}

}  // namespace sharder::ctl
