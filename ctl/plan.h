#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "ctl/census.h"
#include "ctl/rings.h"
#include "ctl/selection.h"
#include "ctl/table.h"

namespace sharder::ctl {

// More would be a slip of the pen: a ring has 100 tokens for each.
inline constexpr std::size_t kMostShards = 10'000;

// A change of a ring's shards.
struct Change {
  std::optional<std::size_t> shards = {};  // so many available shards in all, cordoned ones too
  std::vector<std::string> add = {};       // "": a name that is made up
  std::vector<std::string> remove = {};
  std::vector<std::string> cordon = {};
};

// A ring after a change.
struct MembersAfter {
  std::vector<std::string> added, removed, cordoned;  // by the change
  std::shared_ptr<const ring::RingEntry> entry;       // the members, and who is cordoned
  std::string assumption;                             // what was assumed, as a sentence; "": nothing

  const std::vector<std::string>& members() const { return entry->ring().shards(); }
};

// The change is made to the available shards; who of them is a member, the sharder's own rule says
// (membership/ring_roster.h). kInvalid: a shard that is not there, or is there already, or can be none; a shard that is
// given twice. With Change::shards: shards called NAME-0 to NAME-<n-1>, as a StatefulSet's pods, get the next numbers,
// or lose the highest; else the newest Leases go, because a ReplicaSet deletes its youngest pods first, and new shards
// get made-up names. Change::add of a cordoned shard ends its cordon.
Result<MembersAfter> members_after(const RingFacts& ring, const Change& change);

struct PlannedMove {
  std::string resource, object_namespace, name;
  std::string from, to;  // "": no shard
};

// What a change moves. Memory grows with the members and, where moves are kept, with the moves.
struct Plan {
  std::string ring;
  std::vector<std::string> members_before;
  MembersAfter change;
  std::int64_t objects = 0;
  std::int64_t drains = 0;     // moves that the old shard has to acknowledge
  std::int64_t reassigns = 0;  // moves in one patch
  std::int64_t anyway = 0;     // of these moves: the object is not where it belongs without the change either
  std::map<std::pair<std::string, std::string>, std::int64_t> moves;  // from, to → objects
  std::map<std::string, std::int64_t> now;                            // objects by their label
  std::map<std::string, std::int64_t> after;                          // objects where they belong then
  std::vector<PlannedMove> list;

  // Max/mean of the members, before and after.
  double balance_now() const;
  double balance_after() const;
  std::int64_t moved() const { return drains + reassigns; }
  double moved_share() const;
  bool moves_more_than(double percent) const;
  // Patches of the sharder and of shards, and pages of lists.
  std::int64_t requests() const;
};

class Planner {
 public:
  // All outlive it. `keep`: Plan::list is filled.
  Planner(const RingFacts& ring, MembersAfter change, bool keep);

  void consider(const RingResource& resource, const Selection& selection, const kube::ObjectMeta& object);
  const Plan& plan() const { return plan_; }

 private:
  const RingFacts& ring_;
  const bool keep_;
  rebalancer::Placement placement_;  // reused
  Plan plan_;
};

// "300", "0.01", for numbers from 1e-9 to 1e9: no more digits than it needs.
std::string shortest(double value);

// `rate`: moves per second for the estimate.
std::string render_plan(const Plan& plan, double rate, const Style& style);
nlohmann::ordered_json to_json(const Plan& plan, double rate);

}  // namespace sharder::ctl
