#include "base/wait_group.h"

#include <doctest/doctest.h>

#include <chrono>
#include <optional>
#include <thread>
#include <utility>

namespace {

using namespace std::chrono_literals;
using sharder::WaitGroup;

TEST_CASE("a group without tickets is waited for at once, one with a ticket until the deadline") {
  WaitGroup group;
  CHECK(group.wait_for(0s));
  WaitGroup::Ticket one = group.enter();
  WaitGroup::Ticket two = group.enter();
  WaitGroup::Ticket moved = std::move(one);
  two = {};
  CHECK_FALSE(group.wait_for(1ms));
  moved = {};
  CHECK(group.wait_for(0s));
}

TEST_CASE("the last ticket's end on another thread ends the wait") {
  WaitGroup group;
  std::jthread worker([ticket = group.enter()]() mutable { ticket = {}; });
  CHECK(group.wait_for(60s));
}

TEST_CASE("a ticket may outlive its group") {
  std::optional<WaitGroup> group(std::in_place);
  const WaitGroup::Ticket ticket = group->enter();
  group.reset();
}

}  // namespace
