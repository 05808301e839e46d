#include "kube/client/lasting_failure.h"

#include <doctest/doctest.h>

using namespace sharder;
using namespace std::chrono_literals;
using sharder::kube::LastingFailure;

namespace {

Error answered(ErrorCode code, int status) {
  return {.code = code, .message = "no", .http_status = status};
}

const Error kBroken = answered(ErrorCode::kUnavailable, 500);
const Error kForbidden = answered(ErrorCode::kForbidden, 403);
const Error kAway{.code = ErrorCode::kUnavailable, .message = "connection refused"};

// Something that is tried every second.
struct Tried {
  LastingFailure failure;
  SteadyTime now{1h};
  int told = 0;

  void fail(const Error& error, std::chrono::seconds time) {
    for (auto passed = 0s; passed < time; passed += 1s) {
      told += failure.failed(error, now) ? 1 : 0;
      now += 1s;
    }
  }
  bool succeed() { return failure.succeeded(now); }
};

}  // namespace

TEST_CASE("a failure becomes a lasting one once, and is over once") {
  Tried t;
  t.fail(kBroken, 10s);
  CHECK(t.failure.pending());
  CHECK_FALSE(t.failure.lasts());
  t.fail(kBroken, 1h);
  CHECK(t.told == 1);
  CHECK(t.failure.lasts());
  CHECK(t.succeed());
  CHECK_FALSE(t.failure.lasts());
  CHECK_FALSE(t.failure.pending());
  CHECK_FALSE(t.succeed());
}

TEST_CASE("what was soon over was no lasting failure") {
  Tried t;
  for (int round = 0; round < 100; ++round) {
    t.fail(kBroken, 9s);
    CHECK_FALSE(t.succeed());
  }
  CHECK(t.told == 0);
}

TEST_CASE("what does not pass by itself is believed sooner, silence and overload later") {
  const auto seconds_until_told = [](const Error& error) {
    Tried t;
    while (t.told == 0 && t.now < SteadyTime(2h)) {
      t.fail(error, 1s);
    }
    return t.now - SteadyTime(1h) - 1s;
  };
  CHECK(seconds_until_told(kForbidden) == 5s);
  CHECK(seconds_until_told(answered(ErrorCode::kNotFound, 404)) == 5s);
  CHECK(seconds_until_told(answered(ErrorCode::kInvalid, 405)) == 5s);
  CHECK(seconds_until_told(kBroken) == 10s);
  CHECK(seconds_until_told(answered(ErrorCode::kUnavailable, 429)) == 1min);
  CHECK(seconds_until_told({.code = ErrorCode::kTimeout, .message = "no answer"}) == 1min);
}

TEST_CASE("an outage of the API server is no failure of what was asked for, and the count begins anew behind it") {
  Tried t;
  t.fail(kAway, 1h);
  CHECK(t.told == 0);
  CHECK_FALSE(t.failure.pending());
  t.fail(kBroken, 8s);
  t.fail(kAway, 1min);
  t.fail(kBroken, 8s);
  CHECK(t.told == 0);
  t.fail(kBroken, 3s);
  CHECK(t.told == 1);
  t.fail(kAway, 1min);  // nor is it over with it
  CHECK(t.failure.lasts());
  t.fail(kBroken, 1min);
  CHECK(t.told == 1);
}

TEST_CASE("conflicts and the like are everyday life") {
  Tried t;
  for (const ErrorCode code : {ErrorCode::kConflict, ErrorCode::kExists, ErrorCode::kGone, ErrorCode::kCancelled}) {
    t.fail(answered(code, 409), 1h);
  }
  CHECK(t.told == 0);
}

TEST_CASE("another reason is a new lasting failure when it lasts too, but not two that take turns") {
  Tried t;
  t.fail(kBroken, 1min);
  t.fail(kForbidden, 1min);
  CHECK(t.told == 2);
  for (int turn = 0; turn < 1000; ++turn) {
    t.fail(kBroken, 1s);
    t.fail(kForbidden, 1s);
  }
  CHECK(t.told == 2);
  CHECK(t.succeed());
}

TEST_CASE("what comes back soon has to last longer each time") {
  Tried t;
  for (int round = 0; round < 240; ++round) {  // an hour
    t.fail(kBroken, 14s);
    t.succeed();
    t.now += 1s;
  }
  CHECK(t.told == 1);
  t.fail(kBroken, 6min);
  CHECK(t.told == 2);
  t.succeed();
  t.now += 10min;  // it has worked for long
  t.fail(kBroken, 11s);
  CHECK(t.told == 3);
}
