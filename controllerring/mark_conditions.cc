#include "controllerring/mark_conditions.h"

#include <algorithm>
#include <cstddef>
#include <string>

#include "ring/names.h"

namespace sharder::controllerring {

namespace {

constexpr std::size_t kNamed = 10;

// "a, b and 3 more".
std::string listed(std::vector<std::string> names) {
  const std::size_t more = names.size() - std::min(names.size(), kNamed);
  names.resize(names.size() - more);
  const std::string all = joined(names, ", ", [](const std::string& name) { return name; });
  return more == 0 ? all : all + " and " + std::to_string(more) + " more";
}

MarkCondition shards_cordoned(const ring::RingStatus& ring) {
  std::vector<std::string> names;
  for (const ring::ShardStatus& shard : ring.shards) {
    if (shard.available && shard.cordoned) {
      names.push_back(shard.name);
    }
  }
  if (names.empty()) {
    return {.type = ring::kShardsCordoned,
            .condition = {.status = "False", .reason = "NoneCordoned", .message = "No available shard is cordoned"}};
  }
  const std::string text = listed(std::move(names));
  return {.type = ring::kShardsCordoned,
          .condition = ring.all_cordoned
                           ? Condition{.status = "True",
                                       .reason = "AllShardsCordoned",
                                       .message = "The cordons have no effect, because each available shard is "
                                                  "cordoned: " +
                                                  text}
                           : Condition{.status = "True",
                                       .reason = "CordonedShardsDrain",
                                       .message = "Objects are drained from the cordoned shards " + text},
          .is_news = true};
}

MarkCondition grace_period_valid(const ring::RingStatus& ring) {
  if (ring.grace_period_error.empty()) {
    return {
        .type = ring::kGracePeriodValid,
        .condition = {.status = "True", .reason = "Valid", .message = "The grace period is valid, or there is none"}};
  }
  return {.type = ring::kGracePeriodValid,
          .condition = {.status = "False",
                        .reason = "InvalidDuration",
                        .message = "There is no grace period: " + ring.grace_period_error},
          .is_news = true};
}

}  // namespace

std::vector<MarkCondition> mark_conditions(const ring::RingStatus& ring) {
  return {shards_cordoned(ring), grace_period_valid(ring)};
}

}  // namespace sharder::controllerring
