#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "ctl/finding.h"
#include "ctl/rings.h"
#include "ctl/selection.h"
#include "rebalancer/decision.h"

// Objects that are not where they ought to be. Pure; memory does not grow with the number of objects.
namespace sharder::ctl {

// What is wrong with one object.
struct Suspicion {
  Check check;
  std::string shard;    // its label; "": none
  std::string desired;  // where it belongs
};

// nullopt: nothing is wrong, or it drains, or the ring has no members, or it is not known whether the ring selects it.
// A controlled object on the wrong shard is kAwayFromOwner. `placement` is reused.
std::optional<Suspicion> suspicion_of(const RingFacts& ring, const RingResource& resource, const Selection& selection,
                                      const kube::ObjectMeta& object, rebalancer::Placement& placement);

// An object that may be only on its way: it is read again before it becomes a finding.
struct Suspect {
  kube::ObjectMeta object;
  Suspicion suspicion;
};

// The suspects of one resource: how many, and a few of each kind.
class Suspects {
 public:
  static constexpr std::size_t kExamples = 5;

  // All outlive it.
  Suspects(const RingFacts& ring, const RingResource& resource, const Selection& selection)
      : ring_(ring), resource_(resource), selection_(selection) {}

  void consider(const kube::ObjectMeta& object);

  struct OfCheck {
    std::int64_t count = 0;
    std::vector<Suspect> examples = {};
  };
  const std::map<Check, OfCheck>& found() const { return found_; }

 private:
  const RingFacts& ring_;
  const RingResource& resource_;
  const Selection& selection_;
  rebalancer::Placement placement_;  // reused
  std::map<Check, OfCheck> found_;
};

// `owner_shard`: of a controlled object, the label of its owner; nullopt: not known. One that is on its owner's shard
// is misplaced as its owner is, not away from it.
Finding finding_of(const RingFacts& ring, const RingResource& resource, const Suspect& suspect, std::int64_t count,
                   const std::optional<std::string>& owner_shard);

// One object with a drain label.
struct DrainFacts {
  std::string object;  // "secrets ns/name"
  std::string shard;   // its label; "": none
  std::optional<WallTime> since;
};

// The draining objects of a ring, by the shards that have to let go.
class Drains {
 public:
  Drains(WallTime now, std::chrono::milliseconds overdue) : now_(now), overdue_(overdue) {}

  void add(DrainFacts drain);
  // kDrainWithoutShard; kShardHangs where a shard renews its Lease and all of its drains are overdue, else
  // kDrainOverdue.
  std::vector<Finding> findings(const RingFacts& ring) const;

 private:
  struct OfShard {
    std::int64_t count = 0, overdue = 0;
    DrainFacts oldest = {};
  };
  WallTime now_;
  std::chrono::milliseconds overdue_;
  std::map<std::string, OfShard> shards_;
};

}  // namespace sharder::ctl
