#include "base/lifetime.h"

#include <doctest/doctest.h>

#include <memory>
#include <optional>
#include <string>

#include "tests/support/fake_clock.h"
#include "tests/support/fake_executor.h"

namespace {

using sharder::Lifetime;

TEST_CASE("what is bound runs as often as it is called, until the lifetime ends") {
  std::optional<Lifetime> lifetime(std::in_place);
  int sum = 0;
  auto add = lifetime->bind([&sum](int number) { sum += number; });
  add(1);
  add(2);
  CHECK(sum == 3);
  lifetime.reset();  // with its owner
  add(4);
  CHECK(sum == 3);
}

TEST_CASE("a callback of another thread runs on the executor, with what it was called with") {
  sharder::testing::FakeClock clock;
  sharder::testing::FakeExecutor executor(clock);
  std::optional<Lifetime> lifetime(std::in_place);
  std::string got;
  auto take = [&](std::unique_ptr<std::string> text, const std::string& more) { got += *text + more; };
  const std::string more = "!";
  lifetime->bind_on(executor, take)(std::make_unique<std::string>("a"), more);
  CHECK(got.empty());
  executor.run();
  CHECK(got == "a!");
  lifetime->bind_on(executor, take)(std::make_unique<std::string>("b"), more);
  lifetime.reset();  // it was on its way
  executor.run();
  CHECK(got == "a!");
}

}  // namespace
