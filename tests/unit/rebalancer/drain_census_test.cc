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
  census.shown(1, true, kStart);
  census.list_ends();
  census.shown(2, true, kStart + 1s);
  census.shown(2, false, kStart + 2s);  // only changed
  CHECK(census.draining() == 2);
  CHECK(census.oldest() == kStart);
  census.gone(1);
  CHECK(census.oldest() == kStart + 1s);
  // A list anew keeps the ages of those that it shows.
  census.list_begins();
  census.shown(2, true, kStart + 9s);
  census.shown(3, true, kStart + 9s);
  census.list_ends();
  CHECK(census.draining() == 2);
  CHECK(census.oldest() == kStart + 1s);
  census.gone(2);
  CHECK(census.oldest() == kStart + 9s);
  census.gone(3);
  CHECK(census.draining() == 0);
  CHECK_FALSE(census.oldest());
}

TEST_CASE("a census of many knows the oldest ones, and of the rest that they are younger") {
  DrainCensus census;
  for (std::size_t object = 0; object < 3 * DrainCensus::kKept; ++object) {
    census.shown(object, true, kStart + std::chrono::seconds(object));
  }
  CHECK(census.draining() == 3 * DrainCensus::kKept);
  CHECK(census.oldest() == kStart);
  for (std::size_t object = 0; object < DrainCensus::kKept; ++object) {
    census.gone(object);
  }
  CHECK(census.draining() == 2 * DrainCensus::kKept);
  CHECK(census.oldest() == kStart + std::chrono::seconds(DrainCensus::kKept));
}
