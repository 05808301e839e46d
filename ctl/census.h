#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "ctl/rings.h"
#include "ctl/selection.h"
#include "rebalancer/decision.h"

namespace sharder::ctl {

// Where a ring's objects are, and where they belong. Its memory does not grow with the number of objects.
struct Census {
  struct OfShard {
    std::int64_t objects = 0;    // its label is on them
    std::int64_t belonging = 0;  // the ring gives them to it
    std::int64_t draining = 0;   // of `objects`: they have the drain label
  };
  std::map<std::string, OfShard, std::less<>> shards;  // members, and whatever the labels name
  std::int64_t objects = 0;                            // that the ring shards
  std::int64_t unassigned = 0;  // no shard has them: no label, or one that names no available shard
  std::int64_t misplaced = 0;   // an available shard has them, and they belong to another
  std::int64_t draining = 0;
  std::string example;  // of those that are unassigned: "secrets ns/name"

  void add(const Census& other);
  std::int64_t objects_of(std::string_view shard) const;
};

// Of the members: the most objects of one, divided by the mean; 0 without members or objects.
double max_to_mean(const std::vector<std::string>& members,
                   const std::function<std::int64_t(const std::string&)>& objects_of);

// Counts the objects of one resource.
class Counter {
 public:
  // All outlive it.
  Counter(const RingFacts& ring, const RingResource& resource, const Selection& selection);

  void count(const kube::ObjectMeta& object);
  const Census& census() const { return census_; }
  // Objects without a shard were met of which it is not known whether the ring selects them; they are not counted.
  bool uncertain() const { return uncertain_; }

 private:
  const RingFacts& ring_;
  const RingResource& resource_;
  const Selection& selection_;
  rebalancer::Placement placement_;  // reused
  Census census_;
  bool uncertain_ = false;
};

}  // namespace sharder::ctl
