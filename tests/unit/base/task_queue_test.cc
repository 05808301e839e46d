#include "base/task_queue.h"

#include <doctest/doctest.h>

#include <memory>
#include <stdexcept>
#include <string>

namespace {

using namespace std::chrono_literals;
using sharder::SteadyTime;
using sharder::TaskQueue;

constexpr SteadyTime kStart{1h};

struct Bench {
  TaskQueue tasks;
  std::string ran;

  bool push(char name) {
    return tasks.push([this, name] { ran += name; });
  }
  std::pair<sharder::Executor::TimerId, bool> push_at(SteadyTime due, char name) {
    return tasks.push_at(due, [this, name] { ran += name; });
  }
};

TEST_CASE("tasks run in the order in which they were posted, timers in the order of their time") {
  Bench bench;
  bench.push_at(kStart + 2s, 'd');
  bench.push_at(kStart + 1s, 'c');
  bench.push_at(kStart + 2s, 'e');
  static_cast<void>(bench.push('a'));
  static_cast<void>(bench.push('b'));
  bench.tasks.run_due(kStart + 2s);
  CHECK(bench.ran == "abcde");
}

TEST_CASE("a timer runs when it is due, not before") {
  Bench bench;
  bench.push_at(kStart + 1s, 'a');
  bench.tasks.run_due(kStart + 1s - 1ns);
  CHECK(bench.ran.empty());
  bench.tasks.run_due(kStart + 1s);
  CHECK(bench.ran == "a");
  bench.tasks.run_due(kStart + 1h);
  CHECK(bench.ran == "a");
}

TEST_CASE("the loop is woken only for work that it does not know of") {
  Bench bench;
  CHECK(bench.push('a'));
  CHECK_FALSE(bench.push('b'));
  CHECK_FALSE(bench.push_at(kStart + 5s, 'c').second);  // tasks are ready, it is awake
  bench.tasks.run_due(kStart);
  CHECK(bench.push_at(kStart + 4s, 'd').second);
  CHECK_FALSE(bench.push_at(kStart + 6s, 'e').second);
  CHECK(bench.push_at(kStart + 3s, 'f').second);
}

TEST_CASE("next_due is the time when there is something to do") {
  Bench bench;
  CHECK(bench.tasks.next_due() == std::nullopt);
  const auto timer = bench.push_at(kStart + 1s, 'a').first;
  bench.push_at(kStart + 2s, 'b');
  CHECK(bench.tasks.next_due() == kStart + 1s);
  bench.tasks.cancel(timer);
  CHECK(bench.tasks.next_due() == kStart + 2s);
  static_cast<void>(bench.push('c'));
  CHECK(bench.tasks.next_due() == SteadyTime::min());
}

TEST_CASE("a cancelled timer does not run and lets go of what it holds") {
  Bench bench;
  auto held = std::make_shared<int>(1);
  const auto timer = bench.tasks.push_at(kStart, [held] { FAIL("ran"); }).first;
  CHECK(timer != 0);
  CHECK(held.use_count() == 2);
  bench.tasks.cancel(timer);
  CHECK(held.use_count() == 1);
  bench.tasks.run_due(kStart + 1h);
  bench.tasks.cancel(timer);  // again: nothing
  bench.tasks.cancel(12345);  // never was: nothing
}

TEST_CASE("a task can cancel a timer that is due as well") {
  Bench bench;
  sharder::Executor::TimerId second = 0;
  static_cast<void>(bench.tasks.push_at(kStart, [&] { bench.tasks.cancel(second); }));
  second = bench.push_at(kStart, 'x').first;
  bench.tasks.run_due(kStart);
  CHECK(bench.ran.empty());
}

TEST_CASE("what a task posts waits for the next call") {
  Bench bench;
  static_cast<void>(bench.tasks.push([&] { static_cast<void>(bench.push('b')); }));
  bench.tasks.run_due(kStart);
  CHECK(bench.ran.empty());
  bench.tasks.run_due(kStart);
  CHECK(bench.ran == "b");
}

TEST_CASE("when a task throws, the others stay queued") {
  Bench bench;
  static_cast<void>(bench.tasks.push([] { throw std::runtime_error("bug"); }));
  static_cast<void>(bench.push('b'));
  bench.push_at(kStart, 'c');
  CHECK_THROWS_WITH(bench.tasks.run_due(kStart), "bug");
  bench.tasks.run_due(kStart);
  CHECK(bench.ran == "bc");
}

TEST_CASE("what tasks hold may cancel and post as it goes with the queue") {
  struct Holder {
    ~Holder() {
      tasks.cancel(timer);
      static_cast<void>(tasks.push([] {}));
    }
    TaskQueue& tasks;
    sharder::Executor::TimerId timer;
  };
  TaskQueue tasks;
  const auto timer = tasks.push_at(kStart, [] {}).first;
  static_cast<void>(tasks.push([holder = std::make_unique<Holder>(tasks, timer)] {}));
  static_cast<void>(tasks.push_at(kStart, [holder = std::make_unique<Holder>(tasks, timer)] {}));
}

}  // namespace
