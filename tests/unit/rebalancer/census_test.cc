#include "rebalancer/census.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

using namespace sharder;
using namespace sharder::rebalancer;
using namespace std::chrono_literals;

namespace {

constexpr SteadyTime kStart{1h};

// A list that shows these objects at `now`.
void list(Census& census, const std::vector<std::uint64_t>& objects, SteadyTime now) {
  Census next;
  for (const std::uint64_t object : objects) {
    next.shown(object, census.since(object, now), "object-" + std::to_string(object));
    if (next.has(object)) {
      next.shown(object, now);  // it changes meanwhile
    }
  }
  census = std::move(next);
}

// Objects from `from` to 3 * kKept.
std::vector<std::uint64_t> many(std::uint64_t from) {
  std::vector<std::uint64_t> objects;
  for (std::uint64_t object = from; object < 3 * Census::kKept; ++object) {
    objects.push_back(object);
  }
  return objects;
}

}  // namespace

TEST_CASE("objects are counted by one list after the other, and the age of the oldest is known") {
  Census census;
  CHECK(census.oldest() == SteadyTime::max());
  CHECK(census.example().empty());
  list(census, {1}, kStart);
  CHECK(census.count() == 1);
  list(census, {1, 2}, kStart + 5s);
  CHECK(census.count() == 2);
  CHECK(census.oldest() == kStart);
  CHECK(census.example() == "object-1");
  list(census, {2, 3}, kStart + 9s);
  CHECK(census.count() == 2);
  CHECK(census.oldest() == kStart + 5s);
  CHECK(census.example() == "object-2");
  list(census, {}, kStart + 10s);
  CHECK(census.count() == 0);
  CHECK(census.oldest() == SteadyTime::max());
}

TEST_CASE("a census of many knows the oldest ones, and of the rest that they are younger") {
  Census census;
  for (const std::uint64_t object : many(0)) {
    census.shown(object, kStart + std::chrono::seconds(object));
  }
  CHECK(census.count() == 3 * Census::kKept);
  CHECK(census.oldest() == kStart);
  list(census, many(Census::kKept / 2), kStart + 5h);
  CHECK(census.count() == 3 * Census::kKept - Census::kKept / 2);
  CHECK(census.oldest() == kStart + std::chrono::seconds(Census::kKept / 2));
  list(census, many(Census::kKept), kStart + 5h);
  CHECK(census.count() == 2 * Census::kKept);
  CHECK(census.oldest() == kStart + std::chrono::seconds(Census::kKept));
}

TEST_CASE("when many are let go, those of whom only that was known are not younger for it") {
  Census census;
  for (const std::uint64_t object : many(0)) {
    census.shown(object, kStart);
  }
  list(census, many(2 * Census::kKept + 100), kStart + 1h);
  CHECK(census.count() == Census::kKept - 100);
  CHECK(census.oldest() == kStart);
  list(census, {1}, kStart + 2h);
  CHECK(census.count() == 1);
  CHECK(census.oldest() == kStart + 2h);
}

TEST_CASE("between two lists, what comes and goes is counted exactly, as long as it is not too much") {
  Census census;
  list(census, {1, 2}, kStart);
  census.came(3, kStart + 1s, "third");
  census.came(3, kStart + 2s, "third");  // it has changed
  CHECK(census.count() == 3);
  census.gone(1);
  census.gone(1);
  census.gone(2);
  CHECK(census.count() == 1);
  CHECK(census.oldest() == kStart + 1s);
  CHECK(census.example() == "third");
  CHECK_FALSE(census.is_vague());
}

TEST_CASE("past what is kept, nobody knows whether an object is new: the count is vague until the next list") {
  Census census;
  list(census, many(0), kStart);
  census.gone(0);
  census.gone(3 * Census::kKept - 1);  // not kept
  CHECK(census.count() == 3 * Census::kKept - 2);
  CHECK_FALSE(census.is_vague());
  census.came(3 * Census::kKept - 2, kStart + 1s);  // it has changed
  CHECK(census.count() == 3 * Census::kKept - 2);
  CHECK(census.is_vague());
  list(census, {1}, kStart + 2s);
  CHECK_FALSE(census.is_vague());
}

TEST_CASE("a list without an end tells that there are so many at least") {
  Census census;
  list(census, {1, 2}, kStart);
  Census half;
  half.shown(2, kStart);
  half.shown(3, kStart + 1s);
  census.at_least(half);
  CHECK(census.count() == 3);
  CHECK(census.oldest() == kStart);
  Census many_more;
  for (const std::uint64_t object : many(0)) {
    many_more.shown(object, kStart + 2s);
  }
  census.at_least(many_more);
  CHECK(census.count() == 3 * Census::kKept);
  CHECK(census.oldest() == kStart);
}
