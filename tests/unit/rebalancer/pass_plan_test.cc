#include "rebalancer/pass_plan.h"

#include <doctest/doctest.h>

using namespace sharder;
using namespace sharder::rebalancer;
using namespace std::chrono_literals;

namespace {

constexpr SteadyTime kStart{1h};

}  // namespace

TEST_CASE("passes run one at a time; what is wanted again while it runs comes once more behind it") {
  PassPlan plan;
  CHECK(plan.empty());
  plan.want({.source = 0, .object_namespace = ""}, kStart);
  plan.want({.source = 1, .object_namespace = "ns"}, kStart + 1s);
  CHECK(plan.begin(kStart)->source == 0);
  CHECK_FALSE(plan.begin(kStart + 2s));
  plan.want({.source = 1, .object_namespace = ""}, kStart + 1s);  // takes "ns" in
  plan.want({.source = 0, .object_namespace = ""}, kStart);
  plan.want({.source = 0, .object_namespace = ""}, kStart);
  CHECK(plan.running()->source == 0);
  CHECK_FALSE(plan.begin(kStart));
  plan.end();
  CHECK(plan.begin(kStart)->source == 0);
  plan.end();
  CHECK_FALSE(plan.begin(kStart));
  CHECK(plan.next_due() == kStart + 1s);
  CHECK(plan.begin(kStart + 1s)->object_namespace.empty());
  plan.end();
  CHECK(plan.empty());
}

TEST_CASE("a pass over a namespace is part of one over everything that comes no later") {
  PassPlan plan;
  plan.want({.source = 0, .object_namespace = ""}, kStart + 10s);
  plan.want({.source = 0, .object_namespace = "ns"}, kStart);
  CHECK(plan.begin(kStart)->object_namespace == "ns");
  plan.want({.source = 0, .object_namespace = "other"}, kStart);
  plan.want({.source = 0, .object_namespace = ""}, kStart);
  plan.end();
  CHECK(plan.begin(kStart)->object_namespace.empty());
  plan.end();
  CHECK(plan.empty());
}

TEST_CASE("a pass that gives way lets the others come first, also when it was wanted again meanwhile") {
  PassPlan plan;
  plan.want({.source = 0, .object_namespace = ""}, kStart);
  CHECK(plan.begin(kStart));
  plan.want({.source = 0, .object_namespace = ""}, kStart);
  CHECK_FALSE(plan.other_is_due(kStart + 1s));
  plan.want({.source = 1, .object_namespace = ""}, kStart + 1s);
  CHECK_FALSE(plan.other_is_due(kStart));
  CHECK(plan.other_is_due(kStart + 1s));
  plan.give_way(kStart + 5s);
  CHECK(plan.begin(kStart + 4s)->source == 1);
  plan.end();
  CHECK_FALSE(plan.begin(kStart + 4s));
  CHECK(plan.begin(kStart + 5s)->source == 0);
  plan.end();
  CHECK(plan.empty());
}
