#include "ctl/plan.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

#include "ctl/document.h"
#include "ctl/text.h"
#include "membership/ring_roster.h"
#include "ring/names.h"

namespace sharder::ctl {

namespace {

using nlohmann::ordered_json;

constexpr std::int64_t kPageSize = 500;

constexpr std::string_view kMadeUp = "names of new shards are made up; others move other objects, about as many";

// The Leases of available shards, by name.
using Shards = std::map<std::string, std::vector<ring::ShardStatus>>;

// "NAME-" when the shards are NAME-0 to NAME-<n-1>.
std::optional<std::string> ordinal_prefix(const Shards& shards) {
  if (shards.empty()) {
    return std::nullopt;
  }
  const std::string& first = shards.begin()->first;
  std::string prefix = first.substr(0, first.rfind('-') + 1);
  for (std::size_t i = 0; i < shards.size(); ++i) {
    if (prefix.empty() || !shards.contains(prefix + std::to_string(i))) {
      return std::nullopt;
    }
  }
  return prefix;
}

// The available shards of a ring, while they are changed.
class Draft {
 public:
  explicit Draft(const RingFacts& ring) : ring_(ring) {
    for (const Shard& shard : ring.shards) {
      if (shard.available && ring::is_label_value(shard.lease.id.name)) {
        shards_[shard.lease.id.name].push_back(status_of(shard));
      }
    }
    note_ignored_cordons(*ring.entry);
  }

  Result<void> remove(const std::string& name) {
    if (shards_.erase(name) == 0) {
      return not_there(name);
    }
    after_.removed.push_back(name);
    return {};
  }

  Result<void> cordon(const std::string& name) {
    const auto found = shards_.find(name);
    if (found == shards_.end()) {
      return not_there(name);
    }
    if (is_cordoned(found->second)) {
      return fail(ErrorCode::kInvalid, "\"" + name + "\" of the ring " + ring_.name() + " is cordoned already");
    }
    if (std::erase_if(found->second, &ring::ShardStatus::in_grace) > 0) {
      assume("a cordon ends a grace");
    }
    std::ranges::for_each(found->second, [](ring::ShardStatus& lease) { lease.cordoned = true; });
    if (found->second.empty()) {
      shards_.erase(found);
    }
    after_.cordoned.push_back(name);
    return {};
  }

  // "": a made-up name.
  Result<void> add(const std::string& wanted) {
    const std::string name = wanted.empty() ? made_up_name() : wanted;
    if (!ring::is_label_value(name)) {
      return fail(ErrorCode::kInvalid,
                  "a shard cannot be called \"" + name +
                      "\": its name is the value of a label, so it has 63 characters at most, which are letters, "
                      "digits, \"-\", \"_\" and \".\", and a letter or a digit at both ends");
    }
    std::vector<ring::ShardStatus>& leases = shards_[name];
    if (!leases.empty() && !is_cordoned(leases)) {
      return fail(ErrorCode::kInvalid, "\"" + name + "\" is a member of the ring " + ring_.name() + " already");
    }
    if (leases.empty()) {
      leases.push_back({.lease_namespace = {}, .name = name, .uid = {}, .state = {}, .available = true});
    }
    std::ranges::for_each(leases, [](ring::ShardStatus& lease) { lease.cordoned = false; });
    after_.added.push_back(name);
    if (wanted.empty()) {
      assume(kMadeUp);
    }
    return {};
  }

  Result<void> resize(std::size_t wanted) {
    if (wanted > kMostShards) {
      return fail(ErrorCode::kInvalid, "--shards: " + std::to_string(wanted) + " are too many; want " +
                                           std::to_string(kMostShards) + " at most");
    }
    const auto prefix = ordinal_prefix(shards_);
    if (prefix && wanted != shards_.size()) {
      assume(wanted > shards_.size() ? "new shards get the next numbers, as in a StatefulSet"
                                     : "the highest numbers go, as in a StatefulSet");
    } else if (wanted < shards_.size()) {
      assume("the newest shards go");
    }
    while (shards_.size() < wanted) {
      if (auto added = add(prefix ? *prefix + std::to_string(shards_.size()) : ""); !added) {
        return added;
      }
    }
    const auto oldest_first = prefix || shards_.size() <= wanted ? std::vector<std::string>() : by_age();
    while (shards_.size() > wanted) {
      const std::size_t last = shards_.size() - 1;
      if (auto removed = remove(prefix ? *prefix + std::to_string(last) : oldest_first[last]); !removed) {
        return removed;
      }
    }
    return {};
  }

  MembersAfter finish() && {
    membership::RingRoster roster;
    roster.put_ring(ring_.object);
    for (const auto& [name, leases] : shards_) {
      for (const ring::ShardStatus& lease : leases) {
        roster.put_shard(ring_.name(), lease);
      }
    }
    after_.entry = entry_of(*roster.publish().ring_set, ring_.object);
    note_ignored_cordons(*after_.entry);
    if (after_.members().empty()) {
      assume("without shards, all objects stay as they are");
    }
    return std::move(after_);
  }

 private:
  // The Leases of a name.
  static bool is_cordoned(const std::vector<ring::ShardStatus>& leases) {
    return std::ranges::any_of(leases, &ring::ShardStatus::cordoned);
  }

  void assume(std::string_view what) {
    if (!after_.assumption.contains(what)) {
      after_.assumption += (after_.assumption.empty() ? "" : "; ") + std::string(what);
    }
  }

  void note_ignored_cordons(const ring::RingEntry& entry) {
    if (std::ranges::any_of(shards_, [&entry](const auto& shard) {
          return is_cordoned(shard.second) && entry.ring().contains(shard.first);
        })) {
      assume("when all shards are cordoned, the cordons have no effect");
    }
  }

  std::string made_up_name() {
    std::string name;
    do {
      name = "new-" + std::to_string(++made_up_);
    } while (shards_.contains(name));
    return name;
  }

  // By when their Leases were acquired; all are the ring's own.
  std::vector<std::string> by_age() const {
    std::map<std::string, WallTime> acquired;
    for (const Shard& shard : ring_.shards) {
      if (shard.available) {
        WallTime& time = acquired.try_emplace(shard.lease.id.name, WallTime::min()).first->second;
        time = std::max(time, shard.lease.acquire_time.value_or(WallTime::min()));
      }
    }
    std::vector<std::string> names = all_names();
    std::ranges::sort(names, {}, [&acquired](const std::string& name) { return std::pair(acquired.at(name), name); });
    return names;
  }

  std::vector<std::string> all_names() const {
    std::vector<std::string> names;
    std::ranges::transform(shards_, std::back_inserter(names), [](const auto& shard) { return shard.first; });
    return names;
  }

  std::unexpected<Error> not_there(const std::string& name) const {
    return fail(ErrorCode::kInvalid, "no available shard of the ring " + ring_.name() + " is called \"" + name + "\"" +
                                         what_there_is(name, all_names()));
  }

  const RingFacts& ring_;
  Shards shards_;
  MembersAfter after_;
  int made_up_ = 0;
};

// A name that the change has twice.
std::optional<std::string> named_twice(const Change& change) {
  std::set<std::string> seen;
  for (const auto* const names : {&change.add, &change.remove, &change.cordon}) {
    for (const std::string& name : *names) {
      if (!name.empty() && !seen.insert(name).second) {
        return name;
      }
    }
  }
  return std::nullopt;
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

std::string shortest(double value) {
  std::array<char, 32> buffer{};
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::fixed).ptr;
  return {buffer.data(), end};
}

Result<MembersAfter> members_after(const RingFacts& ring, const Change& change) {
  if (const auto name = named_twice(change)) {
    return fail(ErrorCode::kInvalid, "the shard \"" + *name + "\" is given twice");
  }
  Draft draft(ring);
  Result<void> done;
  const auto each = [&](const std::vector<std::string>& names, Result<void> (Draft::*step)(const std::string&)) {
    for (auto name = names.begin(); done && name != names.end(); ++name) {
      done = (draft.*step)(*name);
    }
  };
  each(change.remove, &Draft::remove);
  each(change.cordon, &Draft::cordon);
  if (done && change.shards) {
    done = draft.resize(*change.shards);
  }
  each(change.add, &Draft::add);
  if (!done) {
    return std::unexpected(std::move(done.error()));
  }
  return std::move(draft).finish();
}

double Plan::balance_now() const {
  return max_to_mean(members_before, [this](const std::string& shard) { return count_at(now, shard); });
}

double Plan::balance_after() const {
  return max_to_mean(change.members(), [this](const std::string& shard) { return count_at(after, shard); });
}

double Plan::moved_share() const {
  return objects == 0 ? 0 : static_cast<double>(moved()) / static_cast<double>(objects);
}

bool Plan::moves_more_than(double percent) const {
  // 57 of 10,000 are not more than 0.57%, though no double is 0.57.
  constexpr double kRounding = 1e-9;
  return 100 * static_cast<double>(moved()) > percent * static_cast<double>(objects) + kRounding;
}

std::int64_t Plan::requests() const {
  return 2 * drains + reassigns + (objects + kPageSize - 1) / kPageSize;
}

Planner::Planner(const RingFacts& ring, MembersAfter change, bool keep) : ring_(ring), keep_(keep) {
  plan_.ring = ring.name();
  plan_.members_before = ring.entry->ring().shards();
  plan_.change = std::move(change);
}

void Planner::consider(const RingResource& resource, const Selection& selection, const kube::ObjectMeta& object) {
  if (selection.selects(resource.resource, object) == false) {
    return;
  }
  const ring::RingEntry& after = *plan_.change.entry;
  rebalancer::find_placement(placement_, after, resource.role, resource.resource, object);
  if (placement_.key.empty()) {
    return;
  }
  ++plan_.objects;
  if (!placement_.shard.empty()) {
    ++plan_.now[placement_.shard];
  }
  const auto to = after.ring().owner(placement_.key);
  if (!to) {
    return;
  }
  ++plan_.after[std::string(*to)];
  if (placement_.shard == *to) {
    return;
  }
  // A shard that lives, in the ring or cordoned, has to let go of a main object first.
  const bool lives = ring_.entry->is_available(placement_.shard) && after.is_available(placement_.shard);
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
                                 std::to_string(plan.change.members().size()) + " after");
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
  facts.emplace_back("time",
                     "about " + short_duration(duration_of(plan, rate)) + " at " + shortest(rate) + " moves a second");
  facts.emplace_back("max/mean",
                     decimal(plan.balance_now(), 2) + " now, " + decimal(plan.balance_after(), 2) + " after");
  std::string text = render_facts(facts, style);

  Table moves({{"FROM"}, {"TO"}, {"OBJECTS", true}});
  for (const auto& [way, count] : plan.moves) {
    moves.add({or_nobody(way.first), way.second, std::to_string(count)});
  }
  Table shards({{"SHARD"}, {"NOW", true}, {"AFTER", true}});
  std::set<std::string> all(plan.change.members().begin(), plan.change.members().end());
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
  all["membersAfter"] = plan.change.members();
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
