#include "kube/client/retries.h"

#include <doctest/doctest.h>

#include "kube/client/common_failure.h"

using namespace sharder;
using namespace std::chrono_literals;
using sharder::kube::CommonFailure;
using sharder::kube::Retries;

namespace {

const Error kBroken{.code = ErrorCode::kUnavailable, .message = "no", .http_status = 500};
const Error kForbidden{.code = ErrorCode::kForbidden, .message = "no", .http_status = 403};
const Error kConflict{.code = ErrorCode::kConflict, .message = "no", .http_status = 409};
const Error kAway{.code = ErrorCode::kUnavailable, .message = "connection refused"};

// Something that is tried whenever its pause is over.
struct Tried {
  Retries retries{{}, 7};
  SteadyTime now{1h};
  int told = 0;
  std::chrono::milliseconds pause{};

  void fail(const Error& error) {
    const Retries::Failure failure = retries.failed(error, now);
    told += failure.is_news ? 1 : 0;
    pause = failure.pause;
    now += failure.pause;
  }
  void fail(const Error& error, SteadyTime::duration time) {
    for (const SteadyTime end = now + time; now < end;) {
      fail(error);
    }
  }
};

}  // namespace

TEST_CASE("pauses stay short while a failure may pass, and grow to minutes when it lasts") {
  Tried t;
  t.fail(kBroken, 5s);
  CHECK(t.told == 0);
  CHECK(t.pause <= 2s);
  t.fail(kBroken, 1h);
  CHECK(t.told == 1);
  CHECK(t.retries.lasts());
  CHECK(t.pause >= 1min);
  CHECK(t.pause <= 2min);
}

TEST_CASE("what does not pass by itself has long pauses from its first failure") {
  Tried t;
  CHECK(t.retries.failed(kForbidden, t.now).lasts);
  t.fail(kForbidden);
  CHECK(t.pause >= 1s);
  CHECK(t.told == 0);
  t.fail(kForbidden, 1min);
  CHECK(t.told == 1);
  CHECK(t.pause >= 8s);
}

TEST_CASE("in an outage and after a conflict pauses are short, also in the middle of a lasting failure") {
  for (const Error& error : {kAway, kConflict}) {
    Tried t;
    t.fail(kBroken, 1h);
    t.fail(error);
    CHECK(t.pause <= 100ms);
    t.fail(error, 1h);
    CHECK(t.pause <= 2s);
    CHECK(t.told == 1);
    CHECK(t.retries.pending());
    t.fail(kBroken);
    CHECK(t.pause <= 1s);
  }
}

TEST_CASE("after a success, and after a reset, all begins anew; only the success is said") {
  for (const bool succeeds : {true, false}) {
    Tried t;
    t.fail(kBroken, 1h);
    if (succeeds) {
      CHECK(t.retries.succeeded(t.now));
      CHECK_FALSE(t.retries.succeeded(t.now));
    } else {
      t.retries.reset();
      CHECK_FALSE(t.retries.succeeded(t.now));
    }
    CHECK_FALSE(t.retries.lasts());
    CHECK_FALSE(t.retries.pending());
    t.fail(kBroken);
    CHECK(t.pause <= 100ms);
    CHECK(t.retries.pending());
  }
}

TEST_CASE("the failures of many things for one reason are said once, and their end with the last of them") {
  CommonFailure<int> failing;
  CHECK(failing.begins(1, kBroken));
  CHECK_FALSE(failing.begins(2, kBroken));
  CHECK_FALSE(failing.begins(3, kForbidden));  // of another thing: it would be said for each of a thousand
  CHECK(failing.begins(2, kForbidden));        // the reason has changed
  CHECK_FALSE(failing.begins(1, kForbidden));
  CHECK_FALSE(failing.ends(1));
  CHECK_FALSE(failing.ends(1));
  CHECK_FALSE(failing.ends(3));
  CHECK(failing.ends(2));
  CHECK_FALSE(failing.ends(2));
  CHECK(failing.begins(2, kForbidden));
  failing.clear();
  CHECK(failing.things().empty());
  CHECK_FALSE(failing.ends(2));
}
