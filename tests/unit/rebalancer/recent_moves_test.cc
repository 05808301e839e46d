#include "rebalancer/recent_moves.h"

#include <doctest/doctest.h>

using namespace sharder;
using namespace sharder::rebalancer;
using namespace std::chrono_literals;

namespace {

constexpr SteadyTime kStart{1h};

}  // namespace

TEST_CASE("an object that needs the same move again and again gets it with growing pauses") {
  RecentMoves moves;
  SteadyTime now = kStart;
  CHECK(moves.not_before(5, 1, now) == now);
  moves.moved(5, "10", 1, now);
  CHECK(moves.not_before(5, 1, now) == now);
  moves.moved(5, "12", 1, now);
  CHECK(moves.not_before(5, 1, now) == now + 1s);
  moves.moved(5, "14", 1, now);
  CHECK(moves.not_before(5, 1, now) == now + 2s);
  CHECK(moves.repeats(5, 1, now) == 3);
  CHECK(moves.repeats(5, 2, now) == 0);  // another ring: it may well have to move again
  CHECK(moves.repeats(6, 1, now) == 0);
  for (int move = 0; move < 40; ++move) {
    moves.moved(5, "16", 1, now);
  }
  CHECK(moves.not_before(5, 1, now) == now + RecentMoves::kLongestPause);
  now += RecentMoves::kForget;
  CHECK(moves.repeats(5, 1, now) == 0);
}

TEST_CASE("the version that an object was moved from is the past, whatever became of the ring") {
  RecentMoves moves;
  CHECK(!moves.is_past(5, "10", kStart));
  moves.moved(5, "10", 1, kStart);
  CHECK(moves.is_past(5, "10", kStart));
  CHECK(!moves.is_past(5, "11", kStart));
  CHECK(!moves.is_past(6, "10", kStart));
  moves.moved(5, "11", 2, kStart);
  CHECK(moves.is_past(5, "11", kStart));
  CHECK(!moves.is_past(5, "11", kStart + RecentMoves::kPast));
  moves.moved(5, "", 2, kStart);
  CHECK(!moves.is_past(5, "11", kStart));
  CHECK(!moves.is_past(5, "", kStart));
}

TEST_CASE("where the API server's history may be another one, no version is the past") {
  RecentMoves moves;
  moves.moved(5, "10", 1, kStart);
  moves.forget_versions(kStart + 1s);
  CHECK_FALSE(moves.is_past(5, "10", kStart + 1s));
  CHECK(moves.repeats(5, 1, kStart + 1s) == 1);
  moves.moved(5, "12", 1, kStart + 2s);
  CHECK(moves.is_past(5, "12", kStart + 2s));
}

TEST_CASE("objects that share a place are remembered until those that moved later have filled it") {
  RecentMoves moves;
  SteadyTime now = kStart;
  constexpr std::uint64_t kStep = 512;  // the same set
  for (std::uint64_t object = 1; object <= 1 + 4 * kStep; object += kStep) {
    moves.moved(object, "10", 1, now += 1s);
  }
  CHECK(!moves.is_past(1, "10", now));  // the fifth pushed out the first
  for (std::uint64_t object = 1 + kStep; object <= 1 + 4 * kStep; object += kStep) {
    CHECK(moves.is_past(object, "10", now));
  }
  moves.moved(1 + kStep, "11", 1, now += 1s);
  moves.moved(1, "10", 1, now += 1s);
  CHECK(moves.is_past(1 + kStep, "11", now));  // it moved again; the one after it made room
  CHECK(!moves.is_past(1 + 2 * kStep, "10", now));
}
