// The pure parts that order moves and passes.
#include <doctest/doctest.h>

#include "rebalancer/drain_census.h"
#include "rebalancer/move_limit.h"
#include "rebalancer/move_queue.h"
#include "rebalancer/pass_plan.h"
#include "rebalancer/repeat_guard.h"

using namespace sharder;
using namespace sharder::rebalancer;
using namespace std::chrono_literals;

namespace {

constexpr SteadyTime kStart{1h};

ObjectId id(const std::string& name, std::uint32_t source = 0) {
  return {.source = source, .object_namespace = "ns", .name = name};
}

Move move(const std::string& version, bool delayed = false) {
  return {.decision = {.kind = MoveKind::kReassign, .shard = "a"},
          .resource_version = version,
          .object = 1,
          .found = kStart,
          .failures = 0,
          .delayed = delayed};
}

}  // namespace

TEST_CASE("moves are taken in order of their time, one for each object") {
  MoveQueue queue;
  CHECK(queue.offer(id("later"), move("1"), kStart + 1s));
  CHECK(queue.offer(id("first"), move("1"), kStart));
  CHECK(queue.offer(id("second"), move("1"), kStart));
  CHECK(queue.offer(id("first"), move("2"), kStart));  // replaces, and goes behind
  CHECK(queue.size(0) == 3);
  CHECK(queue.take(kStart)->id.name == "second");
  const auto taken = queue.take(kStart);
  CHECK(taken->id.name == "first");
  CHECK(taken->move.resource_version == "2");
  CHECK_FALSE(queue.take(kStart));
  CHECK(queue.next_due() == kStart + 1s);
  CHECK(queue.in_flight() == 2);
  CHECK(queue.done(id("first")));
  CHECK(queue.done(id("second")));
  CHECK(queue.size(0) == 1);
}

TEST_CASE("what is offered while it is in flight has to be looked at again, unless it is the same version") {
  MoveQueue queue;
  queue.offer(id("x"), move("1"), kStart);
  CHECK(queue.take(kStart));
  CHECK(queue.offer(id("x"), move("1"), kStart));
  CHECK(queue.done(id("x")));

  queue.offer(id("x"), move("1"), kStart);
  CHECK(queue.take(kStart));
  CHECK(queue.offer(id("x"), move("2"), kStart));
  CHECK_FALSE(queue.done(id("x")));
  CHECK(queue.in_flight() == 1);
  CHECK(queue.done(id("x")));
  CHECK(queue.active() == 0);
}

TEST_CASE("when the ring changes, what waits is dropped and what is in flight looked at again") {
  MoveQueue queue;
  queue.offer(id("flying"), move("1"), kStart);
  CHECK(queue.take(kStart));
  queue.offer(id("waiting"), move("1"), kStart);
  queue.clear();
  CHECK(queue.active() == 1);
  CHECK_FALSE(queue.next_due());
  CHECK_FALSE(queue.done(id("flying")));
  CHECK(queue.done(id("flying")));
}

TEST_CASE("a source or a namespace is forgotten alone; what is retracted too, unless it is in flight") {
  MoveQueue queue;
  queue.offer(id("a", 0), move("1"), kStart);
  queue.offer(id("b", 1), move("1"), kStart);
  queue.offer({.source = 1, .object_namespace = "other", .name = "c"}, move("1"), kStart);
  queue.clear_source(0);
  CHECK(queue.size(0) == 0);
  queue.clear_namespace("other");
  CHECK(queue.size(1) == 1);
  CHECK(queue.take(kStart));
  queue.retract(id("b", 1));
  CHECK(queue.size(1) == 1);
  CHECK(queue.done(id("b", 1)));
  queue.offer(id("b", 1), move("1"), kStart);
  queue.retract(id("b", 1));
  CHECK(queue.size(1) == 0);
}

TEST_CASE("the queue is bounded, and what is delayed does not keep others out (design, 6.8)") {
  MoveQueue queue;
  for (std::size_t number = 0; number < MoveQueue::kDelayedCapacity + 10; ++number) {
    CHECK(queue.offer(id("delayed-" + std::to_string(number)), move("1", true), kStart + 1h));
  }
  CHECK(queue.size(0) == MoveQueue::kDelayedCapacity);
  CHECK(queue.active() == 0);
  for (std::size_t number = 0; number < MoveQueue::kCapacity; ++number) {
    CHECK(queue.offer(id("s-" + std::to_string(number)), move("1"), kStart));
  }
  CHECK_FALSE(queue.offer(id("one-more"), move("1"), kStart));
  CHECK(queue.take(kStart));
  CHECK_FALSE(queue.retry(id("s-0"), move("1", true), kStart + 1h));  // forgotten
  CHECK(queue.active() == MoveQueue::kCapacity - 1);
  CHECK(queue.offer(id("one-more"), move("1"), kStart));
}

TEST_CASE("orphans come before objects that have a live shard") {
  MoveQueue queue;
  Move drain = move("1");
  drain.decision = {.kind = MoveKind::kDrain};
  Move orphan = move("1");
  orphan.decision.is_orphan = true;
  queue.offer(id("drained"), drain, kStart);
  queue.offer(id("orphan"), orphan, kStart + 1s);
  CHECK(queue.next_due() == kStart);
  CHECK(queue.take(kStart + 1s)->id.name == "orphan");
  CHECK(queue.take(kStart + 1s)->id.name == "drained");
  CHECK_FALSE(queue.next_due());
}

TEST_CASE("what failed waits again") {
  MoveQueue queue;
  queue.offer(id("x"), move("1"), kStart);
  CHECK(queue.take(kStart));
  CHECK(queue.retry(id("x"), move("1"), kStart + 2s));
  CHECK(queue.in_flight() == 0);
  CHECK_FALSE(queue.take(kStart + 1s));
  CHECK(queue.take(kStart + 2s));
}

TEST_CASE("concurrent moves: halved while the API server is overloaded, at most once a second, then one more each") {
  MoveLimit limit(100);
  CHECK(limit.current() == 100);
  limit.answered(10ms, true, kStart);
  CHECK(limit.current() == 50);
  limit.refused(kStart + 900ms);
  CHECK(limit.current() == 50);
  limit.answered(1500ms, false, kStart + 1s);
  CHECK(limit.current() == 25);
  limit.answered(10ms, false, kStart + 1500ms);
  CHECK(limit.current() == 25);
  limit.answered(10ms, false, kStart + 2s);
  CHECK(limit.current() == 26);
  for (int second = 3; second < 20; ++second) {
    limit.refused(kStart + std::chrono::seconds(second));
  }
  CHECK(limit.current() == MoveLimit::kLeast);
  for (int success = 0; success < 200; ++success) {
    limit.answered(10ms, false, kStart + 1min);
  }
  CHECK(limit.current() == 100);
  MoveLimit one(1);
  one.refused(kStart);
  CHECK(one.current() == 1);
}

TEST_CASE("an object that needs the same move again and again gets it with growing pauses") {
  RepeatGuard guard;
  SteadyTime now = kStart;
  CHECK(guard.not_before(5, 1, now) == now);
  guard.moved(5, 1, now);
  CHECK(guard.not_before(5, 1, now) == now);
  guard.moved(5, 1, now);
  CHECK(guard.not_before(5, 1, now) == now + 1s);
  guard.moved(5, 1, now);
  CHECK(guard.not_before(5, 1, now) == now + 2s);
  CHECK(guard.repeats(5, 1, now) == 3);
  CHECK(guard.repeats(5, 2, now) == 0);  // another ring: it may well have to move again
  CHECK(guard.repeats(6, 1, now) == 0);
  for (int move = 0; move < 40; ++move) {
    guard.moved(5, 1, now);
  }
  CHECK(guard.not_before(5, 1, now) == now + RepeatGuard::kLongestPause);
  now += RepeatGuard::kForget;
  CHECK(guard.repeats(5, 1, now) == 0);
}

TEST_CASE("draining objects are counted, and the age of the oldest is known") {
  DrainCensus census;
  CHECK_FALSE(census.oldest());
  census.list_begins();
  census.shown(1, true, kStart);
  census.list_ends();
  census.shown(2, true, kStart + 1s);
  census.shown(2, false, kStart + 2s);  // only changed
  CHECK(census.draining() == 2);
  CHECK(census.oldest() == kStart);
  census.gone(1);
  CHECK(census.oldest() == kStart + 1s);
  // A list anew keeps the ages of those that it shows.
  census.list_begins();
  census.shown(2, true, kStart + 9s);
  census.shown(3, true, kStart + 9s);
  census.list_ends();
  CHECK(census.draining() == 2);
  CHECK(census.oldest() == kStart + 1s);
  census.gone(2);
  CHECK(census.oldest() == kStart + 9s);
  census.gone(3);
  CHECK(census.draining() == 0);
  CHECK_FALSE(census.oldest());
}

TEST_CASE("a census of many knows the oldest ones, and of the rest that they are younger") {
  DrainCensus census;
  for (std::size_t object = 0; object < 3 * DrainCensus::kKept; ++object) {
    census.shown(object, true, kStart + std::chrono::seconds(object));
  }
  CHECK(census.draining() == 3 * DrainCensus::kKept);
  CHECK(census.oldest() == kStart);
  for (std::size_t object = 0; object < DrainCensus::kKept; ++object) {
    census.gone(object);
  }
  CHECK(census.draining() == 2 * DrainCensus::kKept);
  CHECK(census.oldest() == kStart + std::chrono::seconds(DrainCensus::kKept));
}

TEST_CASE("passes run one at a time; what is wanted again while it runs begins anew") {
  PassPlan plan;
  CHECK(plan.empty());
  plan.want({.source = 0, .object_namespace = ""}, kStart);
  plan.want({.source = 1, .object_namespace = "ns"}, kStart + 1s);
  CHECK(plan.begin(kStart)->source == 0);
  CHECK_FALSE(plan.begin(kStart + 2s));
  plan.want({.source = 1, .object_namespace = ""}, kStart + 1s);  // takes "ns" in
  CHECK_FALSE(plan.overtaken());
  plan.want({.source = 0, .object_namespace = ""}, kStart);
  CHECK(plan.overtaken());
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
  CHECK_FALSE(plan.overtaken());
  plan.want({.source = 0, .object_namespace = ""}, kStart);
  CHECK(plan.overtaken());
  plan.end();
  CHECK(plan.begin(kStart)->object_namespace.empty());
  plan.end();
  CHECK(plan.empty());
}
