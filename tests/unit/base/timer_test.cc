#include "base/timer.h"

#include <doctest/doctest.h>

#include <chrono>
#include <memory>

#include "tests/support/fake_clock.h"
#include "tests/support/fake_executor.h"

namespace {

using namespace std::chrono_literals;
using sharder::Timer;

struct Fixture {
  sharder::testing::FakeClock clock;
  sharder::testing::FakeExecutor executor{clock};
  int fired = 0;
};

TEST_CASE_FIXTURE(Fixture, "a timer fires once, at the last time that was set") {
  Timer timer(executor);
  CHECK_FALSE(timer.is_set());
  timer.set(1s, [&] { fired += 10; });
  timer.set(2s, [&] { fired += 1; });
  CHECK(timer.is_set());
  executor.advance(1999ms);
  CHECK(fired == 0);
  executor.advance(1ms);
  CHECK(fired == 1);
  CHECK_FALSE(timer.is_set());
  executor.advance(10s);
  CHECK(fired == 1);
}

TEST_CASE_FIXTURE(Fixture, "a timer that is cancelled, or gone, does not fire") {
  auto timer = std::make_unique<Timer>(executor);
  timer->set(1s, [&] { ++fired; });
  SUBCASE("cancelled") {
    timer->cancel();
    CHECK_FALSE(timer->is_set());
  }
  SUBCASE("gone") {
    timer.reset();
  }
  executor.advance(10s);
  CHECK(fired == 0);
}

TEST_CASE_FIXTURE(Fixture, "what a timer runs may set it again, and may destroy it") {
  auto timer = std::make_unique<Timer>(executor);
  timer->set(1s, [&] {
    ++fired;
    timer->set(1s, [&] {
      timer.reset();
      ++fired;
    });
  });
  executor.advance(1s);
  CHECK(timer->is_set());
  executor.advance(1s);
  CHECK(fired == 2);
  CHECK(timer == nullptr);
}

}  // namespace
