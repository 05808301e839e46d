#include "ctl/plan.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

#include "ctl/document.h"
#include "ctl/text.h"

namespace sharder::ctl {

namespace {

using nlohmann::ordered_json;

constexpr std::int64_t kPageSize = 500;

// "NAME-" when the members are NAME-0 to NAME-<n-1>.
std::optional<std::string> ordinal_prefix(const std::vector<std::string>& members) {
  if (members.empty()) {
    return std::nullopt;
  }
  std::string prefix = members.front().substr(0, members.front().rfind('-') + 1);
  for (std::size_t i = 0; i < members.size(); ++i) {
    if (prefix.empty() || std::ranges::find(members, prefix + std::to_string(i)) == members.end()) {
      return std::nullopt;
    }
  }
  return prefix;
}

std::string made_up_name(const std::set<std::string>& taken) {
  for (int number = 1;; ++number) {
    const std::string name = "new-" + std::to_string(number);
    if (!taken.contains(name)) {
      return name;
    }
  }
}

// The member whose Lease was acquired last.
std::string newest(const RingFacts& ring, const std::set<std::string>& members) {
  return *std::ranges::max_element(members, {}, [&ring](const std::string& name) {
    const Shard* const shard = ring.find_shard(name);
    return shard == nullptr ? WallTime::min() : shard->lease.acquire_time.value_or(WallTime::min());
  });
}

void resize(const RingFacts& ring, std::size_t wanted, std::set<std::string>& members, MembersAfter& after) {
  const auto prefix = ordinal_prefix({members.begin(), members.end()});
  while (members.size() < wanted) {
    const std::string name = prefix ? *prefix + std::to_string(members.size()) : made_up_name(members);
    members.insert(name);
    after.added.push_back(name);
  }
  while (members.size() > wanted) {
    const std::string name = prefix ? *prefix + std::to_string(members.size() - 1) : newest(ring, members);
    members.erase(name);
    after.removed.push_back(name);
  }
  if (!after.added.empty()) {
    after.assumption = prefix ? "new shards get the next numbers, as in a StatefulSet"
                              : "names of new shards are made up; others move other objects, about as many";
  } else if (!after.removed.empty()) {
    after.assumption = prefix ? "the highest numbers go, as in a StatefulSet" : "the newest shards go";
  }
}

std::int64_t count_at(const std::map<std::string, std::int64_t>& objects, const std::string& shard) {
  const auto found = objects.find(shard);
  return found == objects.end() ? 0 : found->second;
}

std::string or_nobody(const std::string& shard) {
  return shard.empty() ? "(none)" : shard;
}

std::string names(const std::vector<std::string>& shards) {
  constexpr std::size_t kShown = 8;
  const std::span<const std::string> shown(shards.data(), std::min(kShown, shards.size()));
  return join(shown, ", ") + (shards.size() > kShown ? " and " + std::to_string(shards.size() - kShown) + " more" : "");
}

std::chrono::seconds duration_of(const Plan& plan, double rate) {
  return std::chrono::seconds(static_cast<std::int64_t>(std::ceil(static_cast<double>(plan.moved()) / rate)));
}

}  // namespace

Result<MembersAfter> members_after(const RingFacts& ring, const Change& change) {
  const std::vector<std::string>& before = ring.entry->ring().shards();
  std::set<std::string> members(before.begin(), before.end());
  MembersAfter after;
  const auto take = [&](const std::vector<std::string>& shards, std::vector<std::string>& taken) -> Result<void> {
    for (const std::string& name : shards) {
      if (members.erase(name) == 0) {
        return fail(ErrorCode::kInvalid, "no member of the ring " + ring.name() + " is called \"" + name + "\"" +
                                             what_there_is(name, before));
      }
      taken.push_back(name);
    }
    return {};
  };
  if (auto taken = take(change.remove, after.removed); !taken) {
    return std::unexpected(std::move(taken.error()));
  }
  if (auto taken = take(change.cordon, after.cordoned); !taken) {
    return std::unexpected(std::move(taken.error()));
  }
  if (change.shards) {
    resize(ring, *change.shards, members, after);
  }
  for (const std::string& wanted : change.add) {
    const std::string name = wanted.empty() ? made_up_name(members) : wanted;
    if (!members.insert(name).second) {
      return fail(ErrorCode::kInvalid, "\"" + name + "\" is a member of the ring " + ring.name() + " already");
    }
    after.added.push_back(name);
    if (wanted.empty()) {
      after.assumption = "names of new shards are made up; others move other objects, about as many";
    }
  }
  if (members.empty() && !after.cordoned.empty()) {
    members.insert(after.cordoned.begin(), after.cordoned.end());
    after.cordoned.clear();
    after.assumption = "when all shards are cordoned, the cordons have no effect";
  }
  after.members.assign(members.begin(), members.end());
  return after;
}

double Plan::balance_now() const {
  return max_to_mean(members_before, [this](const std::string& shard) { return count_at(now, shard); });
}

double Plan::balance_after() const {
  return max_to_mean(change.members, [this](const std::string& shard) { return count_at(after, shard); });
}

double Plan::moved_share() const {
  return objects == 0 ? 0 : static_cast<double>(moved()) / static_cast<double>(objects);
}

std::int64_t Plan::requests() const {
  return 2 * drains + reassigns + (objects + kPageSize - 1) / kPageSize;
}

Planner::Planner(const RingFacts& ring, MembersAfter change, bool keep)
    : ring_(ring), keep_(keep), after_(ring.object.spec, std::make_shared<const ring::Ring>(change.members)) {
  plan_.ring = ring.name();
  plan_.members_before = ring.entry->ring().shards();
  plan_.change = std::move(change);
}

void Planner::consider(const RingResource& resource, const Selection& selection, const kube::ObjectMeta& object) {
  if (selection.selects(resource.resource, object) == false) {
    return;
  }
  rebalancer::find_placement(placement_, after_, resource.role, resource.resource, object);
  if (placement_.key.empty()) {
    return;
  }
  ++plan_.objects;
  if (!placement_.shard.empty()) {
    ++plan_.now[placement_.shard];
  }
  const auto to = after_.ring().owner(placement_.key);
  if (!to) {
    return;
  }
  ++plan_.after[std::string(*to)];
  if (placement_.shard == *to) {
    return;
  }
  // A shard that lives, in the ring or cordoned, has to let go of a main object first.
  const Shard* const shard = ring_.find_shard(placement_.shard);
  const bool lives = shard != nullptr && shard->available &&
                     std::ranges::find(plan_.change.removed, placement_.shard) == plan_.change.removed.end();
  ++(resource.role == ring::Role::kMain && lives ? plan_.drains : plan_.reassigns);
  const auto now_owner = ring_.entry->ring().owner(placement_.key);
  if (!now_owner || *now_owner != placement_.shard) {
    ++plan_.anyway;
  }
  ++plan_.moves[{placement_.shard, std::string(*to)}];
  if (keep_) {
    plan_.list.push_back({.resource = name_of(resource.resource),
                          .object_namespace = object.object_namespace,
                          .name = object.name,
                          .from = placement_.shard,
                          .to = std::string(*to)});
  }
}

std::string render_plan(const Plan& plan, double rate, const Style& style) {
  std::vector<std::pair<std::string, Cell>> facts;
  const auto members = [](std::size_t count) { return count_of(static_cast<std::int64_t>(count), "member"); };
  facts.emplace_back("ring", plan.ring + ", " + members(plan.members_before.size()) + " now, " +
                                 std::to_string(plan.change.members.size()) + " after");
  for (const auto& [what, shards] : {std::pair{"joins", &plan.change.added},
                                     {"leaves", &plan.change.removed},
                                     {"is cordoned", &plan.change.cordoned}}) {
    if (!shards->empty()) {
      facts.emplace_back(what, names(*shards));
    }
  }
  if (!plan.change.assumption.empty()) {
    facts.emplace_back("assumed", plan.change.assumption);
  }
  facts.emplace_back("moves", count_of(plan.moved(), "object") + " of " + std::to_string(plan.objects) + ", " +
                                  decimal(100 * plan.moved_share(), 1) + "%" +
                                  (plan.anyway == 0 ? ""
                                                    : "; " + std::to_string(plan.anyway) +
                                                          " of them are not where they belong now either"));
  facts.emplace_back("by", count_of(plan.drains, "drain") + ", " + count_of(plan.reassigns, "reassignment"));
  facts.emplace_back("requests", "about " + std::to_string(plan.requests()));
  facts.emplace_back(
      "time", "about " + short_duration(duration_of(plan, rate)) + " at " + decimal(rate, 0) + " moves a second");
  facts.emplace_back("max/mean",
                     decimal(plan.balance_now(), 2) + " now, " + decimal(plan.balance_after(), 2) + " after");
  std::string text = render_facts(facts, style);

  Table moves({{"FROM"}, {"TO"}, {"OBJECTS", true}});
  for (const auto& [way, count] : plan.moves) {
    moves.add({or_nobody(way.first), way.second, std::to_string(count)});
  }
  Table shards({{"SHARD"}, {"NOW", true}, {"AFTER", true}});
  std::set<std::string> all(plan.change.members.begin(), plan.change.members.end());
  std::ranges::transform(plan.now, std::inserter(all, all.end()), [](const auto& one) { return one.first; });
  for (const std::string& shard : all) {
    shards.add({shard, std::to_string(count_at(plan.now, shard)), std::to_string(count_at(plan.after, shard))});
  }
  return text + (moves.empty() ? "" : "\n" + moves.render(style)) + (shards.empty() ? "" : "\n" + shards.render(style));
}

ordered_json to_json(const Plan& plan, double rate) {
  ordered_json all = document("Plan");
  all["ring"] = plan.ring;
  all["membersBefore"] = plan.members_before;
  all["membersAfter"] = plan.change.members;
  all["added"] = plan.change.added;
  all["removed"] = plan.change.removed;
  all["cordoned"] = plan.change.cordoned;
  all["assumption"] = plan.change.assumption;
  all["objects"] = plan.objects;
  all["moved"] = plan.moved();
  all["movedShare"] = plan.moved_share();
  all["movedAnyway"] = plan.anyway;
  all["drains"] = plan.drains;
  all["reassignments"] = plan.reassigns;
  all["requests"] = plan.requests();
  all["seconds"] = duration_of(plan, rate).count();
  all["movesPerSecond"] = rate;
  all["maxToMeanBefore"] = plan.balance_now();
  all["maxToMeanAfter"] = plan.balance_after();
  all["objectsBefore"] = plan.now;
  all["objectsAfter"] = plan.after;
  all["moves"] = ordered_json::array();
  for (const PlannedMove& move : plan.list) {
    all["moves"].push_back({{"resource", move.resource},
                            {"namespace", move.object_namespace},
                            {"name", move.name},
                            {"from", move.from},
                            {"to", move.to}});
  }
  return all;
}

}  // namespace sharder::ctl
