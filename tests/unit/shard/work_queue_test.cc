#include "shard/work_queue.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace std::chrono_literals;
using sharder::SteadyTime;
using sharder::shard::ObjectName;
using sharder::shard::WorkQueue;

namespace {

const SteadyTime kNow{1h};

ObjectName named(const std::string& name) {
  return {.object_namespace = "ns", .name = name};
}

// The names that can be taken now, in order. They are processed and done.
std::vector<std::string> take_all(WorkQueue& queue, SteadyTime now) {
  std::vector<std::string> names;
  while (const auto item = queue.take(now)) {
    names.push_back(item->object.name);
    queue.done(item->object, now);
  }
  return names;
}

}  // namespace

TEST_CASE("objects are taken once each, in the order in which they came") {
  WorkQueue queue(5ms, 1000s);
  for (const char* name : {"b", "a", "b", "c", "a"}) {
    queue.add(named(name), kNow);
  }
  CHECK(queue.depth() == 3);
  CHECK(take_all(queue, kNow) == std::vector<std::string>{"b", "a", "c"});
  CHECK_FALSE(queue.next_due());
}

TEST_CASE("an object that is being processed is not taken again before that has ended") {
  WorkQueue queue(5ms, 1000s);
  queue.add(named("a"), kNow);
  REQUIRE(queue.take(kNow));
  CHECK(queue.is_processing(named("a")));
  queue.add(named("a"), kNow);
  queue.add(named("a"), kNow);
  CHECK_FALSE(queue.take(kNow));
  CHECK_FALSE(queue.next_due());
  queue.done(named("a"), kNow + 1s);
  CHECK(queue.next_due() == SteadyTime::min());
  const auto again = queue.take(kNow + 3s);
  REQUIRE(again);
  CHECK(again->waited == 2s);  // since it could have been taken
  queue.done(named("a"), kNow + 3s);
  CHECK_FALSE(queue.take(kNow + 3s));
}

TEST_CASE("a delayed object comes when it is due, and earlier when something else adds it") {
  WorkQueue queue(5ms, 1000s);
  queue.add_at(named("a"), kNow + 10s);
  queue.add_at(named("b"), kNow + 20s);
  CHECK(queue.depth() == 0);
  CHECK(queue.next_due() == kNow + 10s);
  CHECK_FALSE(queue.take(kNow + 10s - 1ns));
  queue.add(named("b"), kNow);
  CHECK(take_all(queue, kNow) == std::vector<std::string>{"b"});
  CHECK(take_all(queue, kNow + 10s) == std::vector<std::string>{"a"});
  CHECK(take_all(queue, kNow + 1h).empty());
}

TEST_CASE("of two delays of an object the earlier one counts") {
  WorkQueue queue(5ms, 1000s);
  queue.add_at(named("a"), kNow + 10s);
  queue.add_at(named("a"), kNow + 30s);
  CHECK(queue.next_due() == kNow + 10s);
  queue.add_at(named("a"), kNow + 5s);
  CHECK(queue.next_due() == kNow + 5s);
  CHECK(take_all(queue, kNow + 1h) == std::vector<std::string>{"a"});
}

TEST_CASE("pauses double with each failure in a row, up to the longest, and are short again after a success") {
  WorkQueue queue(5ms, 100ms);
  std::vector<std::chrono::nanoseconds> pauses;
  for (int i = 0; i < 7; ++i) {
    pauses.push_back(queue.retry(named("a"), kNow));
  }
  CHECK(pauses == std::vector<std::chrono::nanoseconds>{5ms, 10ms, 20ms, 40ms, 80ms, 100ms, 100ms});
  CHECK(queue.retry(named("b"), kNow) == 5ms);  // each object has its own
  queue.forget_failures(named("a"));
  CHECK(queue.retry(named("a"), kNow) == 5ms);
}

TEST_CASE("pauses never overflow") {
  WorkQueue queue(5ms, 1000s);
  for (int i = 0; i < 200; ++i) {
    queue.retry(named("a"), kNow);
  }
  CHECK(queue.retry(named("a"), kNow) == 1000s);
}

TEST_CASE("a dropped object is gone, whether it waits, is delayed or is being processed") {
  WorkQueue queue(5ms, 1000s);
  queue.add(named("waits"), kNow);
  queue.add_at(named("delayed"), kNow + 1s);
  queue.add(named("processed"), kNow);
  queue.drop(named("waits"));
  queue.drop(named("delayed"));
  REQUIRE(queue.take(kNow)->object.name == "processed");
  queue.add(named("processed"), kNow);
  queue.drop(named("processed"));
  CHECK(queue.is_processing(named("processed")));
  queue.done(named("processed"), kNow);
  CHECK(queue.processing() == 0);
  CHECK(take_all(queue, kNow + 1h).empty());
  queue.retry(named("waits"), kNow);
  queue.drop(named("waits"));
  CHECK(queue.retry(named("waits"), kNow) == 5ms);  // its failures are forgotten too
}
