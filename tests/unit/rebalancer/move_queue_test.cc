#include "rebalancer/move_queue.h"

#include <doctest/doctest.h>

using namespace sharder;
using namespace sharder::rebalancer;
using namespace std::chrono_literals;

namespace {

constexpr SteadyTime kStart{1h};

const auto kAll = [](std::uint32_t /*source*/) { return true; };

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
  CHECK(queue.offer(id("first"), move("2"), kStart + 1s));  // replaces, and keeps its place
  CHECK(queue.size(0) == 3);
  const auto taken = queue.take(kStart, kAll);
  CHECK(taken->id.name == "first");
  CHECK(taken->move.resource_version == "2");
  CHECK(queue.take(kStart, kAll)->id.name == "second");
  CHECK_FALSE(queue.take(kStart, kAll));
  CHECK(queue.next_due(0) == kStart + 1s);
  CHECK(queue.in_flight() == 2);
  CHECK(queue.done(id("first")));
  CHECK(queue.done(id("second")));
  CHECK(queue.size(0) == 1);
}

TEST_CASE("what is offered while it is in flight has to be looked at again, unless it is the same version") {
  MoveQueue queue;
  queue.offer(id("x"), move("1"), kStart);
  CHECK(queue.take(kStart, kAll));
  CHECK(queue.offer(id("x"), move("1"), kStart));
  CHECK(queue.done(id("x")));

  queue.offer(id("x"), move("1"), kStart);
  CHECK(queue.take(kStart, kAll));
  CHECK(queue.offer(id("x"), move("2"), kStart));
  CHECK_FALSE(queue.done(id("x")));
  CHECK(queue.in_flight() == 1);
  CHECK(queue.done(id("x")));
  CHECK(queue.active() == 0);
}

TEST_CASE("versions that are not known are never the same") {
  MoveQueue queue;
  queue.offer(id("x"), move(""), kStart);
  CHECK(queue.take(kStart, kAll));
  CHECK(queue.offer(id("x"), move(""), kStart));
  CHECK_FALSE(queue.done(id("x")));
  CHECK(queue.done(id("x")));

  queue.offer(id("y"), move(""), kStart);
  queue.retract(id("y"), "");
  REQUIRE(queue.size(0) == 1);
  CHECK(queue.take(kStart, kAll)->move.decision.kind == MoveKind::kStale);
}

TEST_CASE("when the ring changes, what waits is decided anew in its place, and what is in flight looked at again") {
  MoveQueue queue;
  const auto offer = [&](const std::string& name, bool is_orphan, bool delayed, SteadyTime not_before) {
    Move offered = move("1", delayed);
    offered.decision.is_orphan = is_orphan;
    offered.placement.key = name;
    queue.offer(id(name), offered, not_before);
  };
  offer("flying", true, false, kStart);
  CHECK(queue.take(kStart, kAll));
  offer("done", true, false, kStart);
  offer("first", true, false, kStart);
  offer("refused", true, true, kStart + 1h);
  offer("joins", false, false, kStart);
  offer("last", true, false, kStart);

  queue.decide_anew(
      [](std::uint32_t /*source*/, const Placement& placement) {
        if (placement.key == "done") {
          return Decision();
        }
        return Decision{.kind = MoveKind::kReassign, .shard = "b", .is_orphan = placement.key != "last"};
      },
      kStart);
  CHECK(queue.active() == 5);  // also what was refused: by another ring perhaps it is not
  for (const std::string name : {"first", "refused", "joins", "last"}) {
    const auto taken = queue.take(kStart, kAll);
    REQUIRE(taken);
    CHECK(taken->id.name == name);
    CHECK(taken->move.decision.shard == "b");
  }
  CHECK_FALSE(queue.take(kStart, kAll));
  CHECK_FALSE(queue.done(id("flying")));
  CHECK(queue.done(id("flying")));
}

TEST_CASE("pauses of a source end at once, but not of what is delayed, and not another source's") {
  MoveQueue queue;
  queue.offer(id("second"), move("1"), kStart + 2min);
  queue.offer(id("first"), move("1"), kStart - 1s);
  queue.offer(id("delayed"), move("1", true), kStart + 1min);
  queue.offer(id("other", 1), move("1"), kStart + 1min);
  queue.hasten(0, kStart);
  CHECK(queue.take(kStart, kAll)->id.name == "first");
  CHECK(queue.take(kStart, kAll)->id.name == "second");
  CHECK_FALSE(queue.take(kStart, kAll));
}

TEST_CASE("when the ring changes, what has to be read is read still") {
  MoveQueue queue;
  queue.offer(id("x"), move("7"), kStart);
  queue.retract(id("x"), "5");
  queue.decide_anew([](std::uint32_t /*source*/,
                       const Placement& /*placement*/) { return Decision{.kind = MoveKind::kReassign, .shard = "b"}; },
                    kStart);
  CHECK(queue.take(kStart, kAll)->move.decision.kind == MoveKind::kStale);
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
  CHECK(queue.take(kStart, kAll));
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
  CHECK(queue.offer(id("s-0"), move("1"), kStart));
  CHECK(queue.offer(id("s-0"), move("2"), kStart));  // one that has a place keeps it
  CHECK(queue.take(kStart, kAll)->move.resource_version == "2");
  CHECK_FALSE(queue.retry(id("s-0"), move("1", true), kStart + 1h));  // forgotten
  CHECK(queue.active() == MoveQueue::kCapacity - 1);
  CHECK(queue.offer(id("one-more"), move("1"), kStart));
}

TEST_CASE("sources take turns, and one that is full leaves the others their room") {
  MoveQueue queue;
  for (std::size_t number = 0; number < MoveQueue::kCapacity; ++number) {
    CHECK(queue.offer(id("s" + std::to_string(number)), move("1"), kStart));
  }
  CHECK_FALSE(queue.offer(id("one more"), move("1"), kStart));
  CHECK(queue.offer(id("x", 2), move("1"), kStart + 1s));
  CHECK(queue.offer(id("y", 2), move("1"), kStart + 1s));
  CHECK(queue.active(0) == MoveQueue::kCapacity);
  CHECK(queue.active(2) == 2);
  CHECK(queue.take(kStart + 2s, kAll)->id.source == 0);
  CHECK(queue.take(kStart + 2s, kAll)->id.source == 2);
  CHECK(queue.take(kStart + 2s, kAll)->id.source == 0);
  CHECK(queue.take(kStart + 2s, kAll)->id.source == 2);
  CHECK(queue.take(kStart + 2s, kAll)->id.source == 0);
}

TEST_CASE("a source that may not send leaves its turn to the others, also to what comes after its own") {
  MoveQueue queue;
  Move orphan = move("1");
  orphan.decision.is_orphan = true;
  CHECK(queue.offer(id("first", 0), orphan, kStart));
  CHECK(queue.offer(id("second", 0), orphan, kStart));
  CHECK(queue.offer(id("drain", 1), move("1"), kStart));
  const auto one_of_the_first = [&](std::uint32_t source) { return source != 0 || queue.in_flight(0) < 1; };
  CHECK(queue.take(kStart, one_of_the_first)->id.source == 0);
  CHECK(queue.take(kStart, one_of_the_first)->id.source == 1);
  CHECK_FALSE(queue.take(kStart, one_of_the_first));
  CHECK(queue.in_flight() == 2);
  CHECK(queue.done(id("first", 0)));
  CHECK(queue.take(kStart, one_of_the_first)->id.name == "second");
}

TEST_CASE("an object that is rejected goes on waiting when it changes") {
  MoveQueue queue;
  Move refused = move("1", true);
  refused.failures = 3;
  queue.offer(id("x"), refused, kStart + 60s);
  queue.offer(id("x"), move("2"), kStart);
  CHECK_FALSE(queue.take(kStart + 59s, kAll));
  const auto taken = queue.take(kStart + 60s, kAll);
  REQUIRE(taken);
  CHECK(taken->move.resource_version == "2");
  CHECK(taken->move.failures == 3);
  CHECK(taken->move.delayed);
}

TEST_CASE("that an object needs no move is believed of the version that its move was decided on, else it is read") {
  MoveQueue queue;
  queue.offer(id("same"), move("5"), kStart);
  queue.retract(id("same"), "5");
  CHECK(queue.active() == 0);
  queue.offer(id("other"), move("7"), kStart);
  queue.retract(id("other"), "5");  // a page that is older than what the watch has shown
  const auto taken = queue.take(kStart, kAll);
  REQUIRE(taken);
  CHECK(taken->move.decision.kind == MoveKind::kStale);
  queue.done(id("other"));
  queue.offer(id("again"), move("7"), kStart);
  queue.retract(id("again"), "5");
  queue.offer(id("again"), move("7"), kStart);
  CHECK(queue.take(kStart, kAll)->move.decision.kind == MoveKind::kReassign);
}

TEST_CASE("orphans come before objects that have a live shard") {
  MoveQueue queue;
  Move drain = move("1");
  drain.decision = {.kind = MoveKind::kDrain};
  Move orphan = move("1");
  orphan.decision.is_orphan = true;
  queue.offer(id("drained"), drain, kStart);
  queue.offer(id("orphan"), orphan, kStart + 1s);
  CHECK(queue.next_due(0) == kStart);
  CHECK(queue.take(kStart + 1s, kAll)->id.name == "orphan");
  CHECK(queue.take(kStart + 1s, kAll)->id.name == "drained");
  CHECK_FALSE(queue.next_due(0));
}

TEST_CASE("what failed waits again") {
  MoveQueue queue;
  queue.offer(id("x"), move("1"), kStart);
  CHECK(queue.take(kStart, kAll));
  CHECK(queue.retry(id("x"), move("1"), kStart + 2s));
  CHECK(queue.in_flight() == 0);
  CHECK_FALSE(queue.take(kStart + 1s, kAll));
  CHECK(queue.take(kStart + 2s, kAll));
}
