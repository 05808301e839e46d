#include "shard/lease.h"

#include <doctest/doctest.h>

#include <stdexcept>

#include "tests/support/fake_api.h"

using namespace sharder;

TEST_CASE("a Lease without ring, name or namespace is an error") {
  testing::FakeClock clock;
  testing::FakeExecutor executor(clock);
  testing::FakeApi api(executor);
  CHECK_THROWS_AS(shard::Lease(api, clock, {}, {.on_acquired = [] {}, .on_lost = [] {}}, Logger::none()),
                  std::invalid_argument);
}
