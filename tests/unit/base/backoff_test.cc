#include "base/backoff.h"

#include <doctest/doctest.h>

#include <set>

using sharder::Backoff;
using namespace std::chrono_literals;

TEST_CASE("pauses double up to the limit, each drawn from the upper half of its step") {
  Backoff backoff({.initial = 100ms, .max = 1000ms, .factor = 2}, 7);
  for (const auto step : {100ms, 200ms, 400ms, 800ms, 1000ms, 1000ms, 1000ms}) {
    const auto pause = backoff.next();
    CHECK(pause >= step / 2);
    CHECK(pause <= step);
  }
}

TEST_CASE("after a success the pauses are short again") {
  Backoff backoff({.initial = 100ms, .max = 1000ms, .factor = 10}, 7);
  backoff.next();
  CHECK(backoff.next() >= 500ms);
  backoff.reset();
  CHECK(backoff.next() <= 100ms);
}

TEST_CASE("no pause is longer than the limit, even when the first one would be") {
  Backoff backoff({.initial = 5000ms, .max = 100ms, .factor = 2}, 7);
  for (int i = 0; i < 10; ++i) {
    CHECK(backoff.next() <= 100ms);
  }
}

TEST_CASE("clients that failed together do not come back together") {
  std::set<std::chrono::milliseconds> pauses;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    pauses.insert(Backoff({.initial = 10'000ms, .max = 10'000ms, .factor = 1}, seed).next());
  }
  CHECK(pauses.size() > 10);
}
