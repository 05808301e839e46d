#include "membership/healthy_time.h"

#include <doctest/doctest.h>

using namespace sharder;
using namespace sharder::membership;
using namespace std::chrono_literals;

namespace {

SteadyTime at(std::chrono::milliseconds time) {
  return SteadyTime(1h) + time;
}

}  // namespace

TEST_CASE("only the time between two answered probes that lie close together counts (protocol, 9)") {
  HealthyTime time;
  time.watch_opened();
  const auto mark = time.mark(at(0s));
  time.probe_succeeded(at(1s));
  CHECK(time.since(mark) == 0s);  // one answer proves nothing about the time before it
  time.probe_succeeded(at(3s));
  CHECK(time.since(mark) == 2s);
  time.probe_succeeded(at(8s));
  CHECK(time.since(mark) == 7s);
  time.probe_succeeded(at(13s) + 1ms);  // a gap just too long
  CHECK(time.since(mark) == 7s);
  time.probe_succeeded(at(15s));
  CHECK(time.since(mark) == 9s - 1ms);
}

TEST_CASE("what was before a mark never counts, whatever the next probe brings") {
  HealthyTime time;
  time.watch_opened();
  time.probe_succeeded(at(0s));
  time.probe_succeeded(at(2s));
  const auto mark = time.mark(at(5s));
  CHECK(time.since(mark) == 0s);
  SUBCASE("the gap counts: only what lies behind the mark") {
    time.probe_succeeded(at(6s));
    CHECK(time.since(mark) == 1s);
  }
  SUBCASE("the gap does not count") {
    time.probe_succeeded(at(20s));
    CHECK(time.since(mark) == 0s);
    time.probe_succeeded(at(22s));
    CHECK(time.since(mark) <= 2s);
  }
  SUBCASE("a mark in a gap that is too long already") {
    const auto late = time.mark(at(30s));
    time.probe_succeeded(at(31s));
    CHECK(time.since(late) == 0s);
    time.probe_succeeded(at(33s));
    CHECK(time.since(late) == 2s);
  }
}

TEST_CASE("a failed probe cuts the chain") {
  HealthyTime time;
  time.watch_opened();
  const auto mark = time.mark(at(0s));
  time.probe_succeeded(at(0s));
  time.probe_succeeded(at(2s));
  time.probe_failed();
  time.probe_succeeded(at(4s));
  CHECK(time.since(mark) == 2s);
}

TEST_CASE("without an open watch no time counts") {
  HealthyTime time;
  const auto mark = time.mark(at(0s));
  time.probe_succeeded(at(0s));
  time.probe_succeeded(at(2s));
  CHECK(time.since(mark) == 0s);
  time.watch_opened();
  time.probe_succeeded(at(4s));
  time.probe_succeeded(at(6s));
  CHECK(time.since(mark) == 2s);
  time.watch_lost();
  time.watch_opened();  // what went on between the two is not known
  time.probe_succeeded(at(8s));
  CHECK(time.since(mark) == 2s);
}

TEST_CASE("it never counts more than has passed, whatever happens") {
  HealthyTime time;
  time.watch_opened();
  std::uint32_t random = 1;
  std::chrono::milliseconds now{};
  for (int round = 0; round < 200; ++round) {
    const auto started = now;
    const auto mark = time.mark(at(now));
    for (int i = 0; i < 20; ++i) {
      random = random * 1664525U + 1013904223U;
      now += std::chrono::milliseconds(random >> 19U);  // up to 8 s
      switch ((random >> 16U) % 5) {
        case 0:
          time.probe_failed();
          break;
        case 1:
          time.watch_lost();
          time.watch_opened();
          break;
        default:
          time.probe_succeeded(at(now));
      }
      REQUIRE(time.since(mark) <= now - started);
    }
  }
}
