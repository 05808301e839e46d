#include "base/task_loop.h"

#include <doctest/doctest.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <future>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using namespace std::chrono_literals;
using sharder::Logger;
using sharder::TaskLoop;

constexpr auto kDeadline = 60s;

// Waits until everything that was posted so far has run.
void settle(TaskLoop& loop) {
  std::promise<void> done;
  loop.post([&] { done.set_value(); });
  REQUIRE(done.get_future().wait_for(kDeadline) == std::future_status::ready);
}

TEST_CASE("tasks of many threads all run, one after the other, on the loop's own thread") {
  TaskLoop loop("tasks", Logger::none());
  std::atomic<bool> inside = false;
  std::atomic<int> overlaps = 0;
  int count = 0;  // not atomic: the loop alone touches it
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        for (int j = 0; j < 500; ++j) {
          loop.post([&] {
            overlaps += inside.exchange(true) ? 1 : 0;
            ++count;
            inside = false;
          });
        }
      });
    }
  }
  settle(loop);
  CHECK(count == 2000);
  CHECK(overlaps == 0);
}

TEST_CASE("tasks of one thread run in its order") {
  TaskLoop loop("order", Logger::none());
  std::vector<int> ran;
  for (int i = 0; i < 100; ++i) {
    loop.post([&ran, i] { ran.push_back(i); });
  }
  settle(loop);
  REQUIRE(ran.size() == 100);
  for (int i = 0; i < 100; ++i) {
    CHECK(ran[static_cast<std::size_t>(i)] == i);
  }
}

TEST_CASE("a timer wakes the loop, also one that is earlier than the one it sleeps for") {
  TaskLoop loop("timers", Logger::none());
  std::promise<void> fired;
  const auto start = std::chrono::steady_clock::now();
  loop.post_after(1h, [] { FAIL("an hour has not passed"); });
  settle(loop);
  loop.post_after(5ms, [&] { fired.set_value(); });
  REQUIRE(fired.get_future().wait_for(kDeadline) == std::future_status::ready);
  CHECK(std::chrono::steady_clock::now() - start >= 5ms);
}

TEST_CASE("a timer that is cancelled on the loop certainly does not fire") {
  TaskLoop loop("cancel", Logger::none());
  std::atomic<bool> fired = false;
  std::promise<void> later;
  loop.post([&] {
    const auto timer = loop.post_after(0ns, [&] { fired = true; });
    CHECK(timer != 0);
    loop.cancel(timer);
    loop.post_after(1ms, [&] { later.set_value(); });
  });
  REQUIRE(later.get_future().wait_for(kDeadline) == std::future_status::ready);
  CHECK_FALSE(fired);
}

TEST_CASE("stop finishes the task that runs and drops the others") {
  TaskLoop loop("stop", Logger::none());
  std::promise<void> started;
  std::promise<void> proceed;
  std::atomic<bool> finished = false, dropped_ran = false;
  loop.post([&] {
    started.set_value();
    proceed.get_future().wait();
    finished = true;
  });
  REQUIRE(started.get_future().wait_for(kDeadline) == std::future_status::ready);
  std::jthread stopper([&] { loop.stop(); });
  loop.post_after(1h, [&] { dropped_ran = true; });
  proceed.set_value();
  stopper.join();
  CHECK(finished);
  loop.post([&] { dropped_ran = true; });
  loop.stop();  // again: nothing
  CHECK_FALSE(dropped_ran);
}

TEST_CASE("the thread bears the loop's name, cut to what the system takes") {
  TaskLoop loop("a-name-that-is-far-too-long", Logger::none());
  std::string name;
  loop.post([&] {
    std::array<char, 32> text{};
    pthread_getname_np(pthread_self(), text.data(), text.size());
    name = text.data();
  });
  settle(loop);
  CHECK(name == "a-name-that-is-");
}

TEST_CASE("a task that throws ends the process, after a line that says why") {
  std::array<int, 2> ends{};
  REQUIRE(pipe(ends.data()) == 0);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    std::signal(SIGABRT, SIG_DFL);  // not the test framework's
    dup2(ends[1], STDERR_FILENO);
    close(ends[0]);
    close(ends[1]);
    TaskLoop loop("doomed", Logger::to_stderr(sharder::LogLevel::kInfo, sharder::LogFormat::kJson));
    loop.post([] { throw std::runtime_error("step lost"); });
    std::this_thread::sleep_for(kDeadline);  // the other thread ends the process long before
    _exit(0);
  }
  close(ends[1]);
  std::string text;
  std::array<char, 4096> chunk;
  for (ssize_t count; (count = read(ends[0], chunk.data(), chunk.size())) > 0;) {
    text.append(chunk.data(), static_cast<std::size_t>(count));
  }
  close(ends[0]);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFSIGNALED(status));
  CHECK(text.find("\"thread\":\"doomed\"") != std::string::npos);
  CHECK(text.find("\"error\":\"step lost\"") != std::string::npos);
}

}  // namespace
