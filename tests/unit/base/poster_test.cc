#include "base/poster.h"

#include <doctest/doctest.h>

#include <memory>
#include <optional>

#include "tests/support/fake_clock.h"
#include "tests/support/fake_executor.h"

namespace {

using sharder::Executor;
using sharder::Lifetime;
using sharder::Poster;

struct Owner {
  explicit Owner(Executor& executor) : post(*this, lifetime, executor) {}

  int sum = 0;
  Lifetime lifetime;
  const Poster<Owner> post;
};

TEST_CASE("steps come to the owner on its executor, as long as it lives") {
  sharder::testing::FakeClock clock;
  sharder::testing::FakeExecutor executor(clock);
  std::optional<Owner> owner(std::in_place, executor);
  const auto copy = owner->post;
  owner->post([number = std::make_unique<int>(1)](Owner& self) { self.sum += *number; });
  copy([](Owner& self) { self.sum += 2; });
  CHECK(owner->sum == 0);
  executor.run();
  CHECK(owner->sum == 3);

  bool ran = false;
  owner->post([&ran](Owner&) { ran = true; });  // it is on its way
  owner.reset();
  copy([&ran](Owner&) { ran = true; });
  executor.run();
  CHECK_FALSE(ran);
}

}  // namespace
