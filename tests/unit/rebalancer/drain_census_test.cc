#include "rebalancer/drain_census.h"

#include <doctest/doctest.h>

using namespace sharder;
using namespace sharder::rebalancer;
using namespace std::chrono_literals;

namespace {

constexpr SteadyTime kStart{1h};

}  // namespace

TEST_CASE("draining objects are counted, and the age of the oldest is known") {
  DrainCensus census;
  CHECK_FALSE(census.oldest());
  census.list_begins();
  census.shown(1, kStart);
  census.list_ends();
  CHECK(census.draining() == 1);
  census.list_begins();
  census.shown(1, kStart + 5s);
  census.shown(2, kStart + 5s);
  census.list_ends();
  CHECK(census.draining() == 2);
  CHECK(census.oldest() == kStart);
  // A list keeps the ages of those that it shows, also one that begins once more.
  census.list_begins();
  census.shown(3, kStart + 9s);
  census.list_begins();
  census.shown(2, kStart + 9s);
  census.shown(3, kStart + 9s);
  census.list_ends();
  CHECK(census.draining() == 2);
  CHECK(census.oldest() == kStart + 5s);
  census.list_begins();
  census.list_ends();
  CHECK(census.draining() == 0);
  CHECK_FALSE(census.oldest());
}

TEST_CASE("a census of many knows the oldest ones, and of the rest that they are younger") {
  DrainCensus census;
  constexpr std::size_t kMany = 3 * DrainCensus::kKept;
  const auto list = [&](std::size_t from, SteadyTime now) {
    census.list_begins();
    for (std::size_t object = from; object < kMany; ++object) {
      census.shown(object, now);
    }
    census.list_ends();
  };
  census.list_begins();
  for (std::size_t object = 0; object < kMany; ++object) {
    census.shown(object, kStart + std::chrono::seconds(object));
  }
  census.list_ends();
  CHECK(census.draining() == kMany);
  CHECK(census.oldest() == kStart);
  list(DrainCensus::kKept / 2, kStart + 5h);
  CHECK(census.draining() == kMany - DrainCensus::kKept / 2);
  CHECK(census.oldest() == kStart + std::chrono::seconds(DrainCensus::kKept / 2));
  list(DrainCensus::kKept, kStart + 5h);
  CHECK(census.draining() == 2 * DrainCensus::kKept);
  CHECK(census.oldest() == kStart + std::chrono::seconds(DrainCensus::kKept));
}

TEST_CASE("when many are let go, those of whom only that was known are not younger for it") {
  DrainCensus census;
  const auto list = [&](std::uint64_t from, SteadyTime now) {
    census.list_begins();
    for (std::uint64_t object = from; object < 3 * DrainCensus::kKept; ++object) {
      census.shown(object, now);
      census.shown(object, now);  // it changes meanwhile
    }
    census.list_ends();
  };
  list(0, kStart);
  list(2 * DrainCensus::kKept + 100, kStart + 1h);
  CHECK(census.draining() == DrainCensus::kKept - 100);
  CHECK(census.oldest() == kStart);
  census.list_begins();
  census.shown(1, kStart + 2h);
  census.list_ends();
  CHECK(census.draining() == 1);
  CHECK(census.oldest() == kStart + 2h);
}
