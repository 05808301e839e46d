#include "controllerring/mark_conditions.h"

#include <doctest/doctest.h>

using namespace sharder;
using namespace sharder::controllerring;

namespace {

ring::ShardStatus shard(const std::string& name, bool available, bool cordoned) {
  return {.lease_namespace = "ns", .name = name, .uid = "u", .state = "", .available = available, .cordoned = cordoned};
}

MarkCondition about(std::string_view type, const ring::RingStatus& ring) {
  for (const MarkCondition& mark : mark_conditions(ring)) {
    if (mark.type == type) {
      return mark;
    }
  }
  FAIL("no condition of this type");
  return {};
}

}  // namespace

TEST_CASE("ShardsCordoned names the cordoned shards that are available, and says when the cordons have no effect") {
  ring::RingStatus ring;
  ring.shards = {shard("a", true, false), shard("b", false, true)};
  MarkCondition mark = about("ShardsCordoned", ring);
  CHECK_FALSE(mark.is_news);
  CHECK(mark.condition ==
        Condition{.status = "False", .reason = "NoneCordoned", .message = "No available shard is cordoned"});

  ring.shards.push_back(shard("c", true, true));
  mark = about("ShardsCordoned", ring);
  CHECK(mark.is_news);
  CHECK(mark.condition == Condition{.status = "True",
                                    .reason = "CordonedShardsDrain",
                                    .message = "Objects are drained from the cordoned shards c"});

  ring.shards.clear();
  for (int number = 0; number < 12; ++number) {
    ring.shards.push_back(shard("s-" + std::to_string(number), true, true));
  }
  ring.all_cordoned = true;
  mark = about("ShardsCordoned", ring);
  CHECK(mark.condition.reason == "AllShardsCordoned");
  CHECK(mark.condition.message.ends_with("s-8, s-9 and 2 more"));
}

TEST_CASE("GracePeriodValid says what is wrong with the annotation") {
  ring::RingStatus ring;
  MarkCondition mark = about("GracePeriodValid", ring);
  CHECK_FALSE(mark.is_news);
  CHECK(mark.condition.status == "True");
  ring.grace_period_error = "annotation grace-period: \"x\" is no duration";
  mark = about("GracePeriodValid", ring);
  CHECK(mark.is_news);
  CHECK(mark.condition == Condition{.status = "False",
                                    .reason = "InvalidDuration",
                                    .message = "There is no grace period: annotation grace-period: \"x\" is no "
                                               "duration"});
}
