#include "shard/acknowledgements.h"

#include <doctest/doctest.h>

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "kube/client/resource.h"
#include "tests/support/fake_api.h"

using namespace sharder;
using namespace std::chrono_literals;
using nlohmann::json;
using shard::Acknowledgements;
using shard::ObjectName;

namespace {

ObjectName named(const std::string& name) {
  return {.object_namespace = "ns", .name = name};
}

struct Bench {
  testing::FakeClock clock;
  testing::FakeExecutor loop{clock};
  testing::FakeApi api{loop};
  int acknowledged = 0;
  bool may_write = true;
  std::vector<std::string> undone;
  std::shared_ptr<std::string> lines = std::make_shared<std::string>();
  std::shared_ptr<Acknowledgements> acknowledgements = std::make_shared<Acknowledgements>(
      api, clock, kube::kSecrets, "ring", "me", "manager",
      Acknowledgements::Callbacks{.on_acknowledged = [this] { ++acknowledged; },
                                  .may_write = [this] { return may_write; },
                                  .on_undone = [this](const ObjectName& name) { undone.push_back(name.name); }},
      Logger::to_string(lines));

  json body() const { return json::parse(api.pending.front().request.body); }
  void fail(ErrorCode code) { api.fail({.code = code, .message = "x"}); }
  // Answers every patch in this time; returns how many there were.
  int answer_for(std::chrono::nanoseconds time, const std::function<void()>& answer) {
    int patches = 0;
    for (std::chrono::nanoseconds passed{0}; passed < time; passed += 100ms) {
      for (auto left = api.pending.size(); left > 0; --left, ++patches) {
        answer();
      }
      loop.advance(100ms);
    }
    return patches;
  }
  std::size_t count(std::string_view text) const {
    std::size_t found = 0;
    for (auto at = lines->find(text); at != std::string::npos; at = lines->find(text, at + 1)) {
      ++found;
    }
    return found;
  }
};

// The answer to a read of an object.
std::string object(const json& labels, const char* version = "8") {
  return json{{"metadata", {{"name", "a"}, {"namespace", "ns"}, {"resourceVersion", version}, {"labels", labels}}}}
      .dump();
}

json draining(const char* shard, const char* drain) {
  return {{"shard.alpha.sharding.timebertt.dev/ring", shard}, {"drain.alpha.sharding.timebertt.dev/ring", drain}};
}

json patch(const char* version, const json& shard) {
  return {
      {"metadata",
       {{"resourceVersion", version},
        {"labels",
         {{"shard.alpha.sharding.timebertt.dev/ring", shard}, {"drain.alpha.sharding.timebertt.dev/ring", nullptr}}}}}};
}

}  // namespace

TEST_CASE(
    "an acknowledgement is one patch of both labels, with the version at which the drain was seen (protocol, 6)") {
  Bench bench;
  bench.acknowledgements->acknowledge(named("a"), "7", "true");
  REQUIRE(bench.api.pending.size() == 1);
  const kube::Request& request = bench.api.pending.front().request;
  CHECK(request.method == kube::Method::kPatch);
  CHECK(request.target == "/api/v1/namespaces/ns/secrets/a?fieldManager=manager");
  CHECK(request.content_type == kube::kMergePatch);
  CHECK(bench.body() == patch("7", nullptr));
  bench.api.answer("{}");
  CHECK(bench.acknowledged == 1);
  CHECK(bench.api.pending.empty());
}

TEST_CASE("a drain that names its target is acknowledged by setting it; an empty value, and `true`, name none") {
  const auto version = kube::Precondition::of("7").value();
  CHECK(json::parse(shard::acknowledgement_body("ring", "other", version)) == patch("7", "other"));
  CHECK(json::parse(shard::acknowledgement_body("ring", "", version)) == patch("7", nullptr));
  CHECK(json::parse(shard::acknowledgement_body("ring", "true", version)) == patch("7", nullptr));
}

TEST_CASE("an object that is shown without a resourceVersion is read before its drain is acknowledged") {
  Bench bench;
  bench.acknowledgements->acknowledge(named("a"), "", "b");
  REQUIRE(bench.api.pending.size() == 1);
  CHECK(bench.api.pending.front().request.method == kube::Method::kGet);
  CHECK(bench.api.pending.front().request.target == "/api/v1/namespaces/ns/secrets/a");
  SUBCASE("it drains as it was shown") {
    bench.api.answer(object(draining("me", "b")));
    CHECK(bench.body() == patch("8", "b"));
    bench.api.answer("{}");
    CHECK(bench.acknowledged == 1);
  }
  SUBCASE("it has changed: the watch shows what it is") {
    SUBCASE("it drains to another") {
      bench.api.answer(object(draining("me", "c")));
    }
    SUBCASE("it does not drain any more") {
      bench.api.answer(object({{"shard.alpha.sharding.timebertt.dev/ring", "me"}}));
    }
    SUBCASE("it is another shard's") {
      bench.api.answer(object(draining("other", "b")));
    }
    SUBCASE("the watch has shown so already") {
      bench.acknowledgements->forget(named("a"));
      bench.api.answer(object(draining("me", "b")));
    }
    SUBCASE("it is gone") {
      bench.fail(ErrorCode::kNotFound);
    }
    bench.loop.advance(10min);
  }
  SUBCASE("it has no version either, or cannot be read: it is read again after a pause") {
    SUBCASE("no version") {
      bench.api.answer(object(draining("me", "b"), ""));
    }
    SUBCASE("no answer") {
      bench.fail(ErrorCode::kUnavailable);
    }
    CHECK(bench.api.pending.empty());
    bench.loop.advance(2s);
    REQUIRE(bench.api.pending.size() == 1);
    CHECK(bench.api.pending.front().request.method == kube::Method::kGet);
    bench.api.answer(object(draining("me", "b")));
    CHECK(bench.body() == patch("8", "b"));
    bench.api.answer("{}");
  }
  CHECK(bench.api.pending.empty());
}

TEST_CASE("after a conflict only what the watch has shown is acknowledged") {
  Bench bench;
  SUBCASE("the newer version had come already") {
    bench.acknowledgements->acknowledge(named("a"), "7", "b");
    bench.acknowledgements->acknowledge(named("a"), "8", "c");
    CHECK(bench.api.pending.size() == 1);
    bench.fail(ErrorCode::kConflict);
    REQUIRE(bench.api.pending.size() == 1);
    CHECK(bench.body() == patch("8", "c"));
    bench.fail(ErrorCode::kConflict);
    CHECK(bench.api.pending.empty());
  }
  SUBCASE("it comes later") {
    bench.acknowledgements->acknowledge(named("a"), "7", "b");
    bench.fail(ErrorCode::kConflict);
    bench.loop.advance(10min);
    CHECK(bench.api.pending.empty());
    bench.acknowledgements->acknowledge(named("a"), "8", "b");
    CHECK(bench.body() == patch("8", "b"));
  }
}

TEST_CASE("another failure is tried again with the same version, so that a lost answer does no harm") {
  Bench bench;
  bench.acknowledgements->acknowledge(named("a"), "7", "b");
  for (int i = 0; i < 5; ++i) {
    bench.fail(ErrorCode::kUnavailable);
    CHECK(bench.api.pending.empty());
    bench.loop.advance(2s);
    REQUIRE(bench.api.pending.size() == 1);
    CHECK(bench.body() == patch("7", "b"));
  }
  bench.api.answer("{}");
  CHECK(bench.acknowledged == 1);
}

TEST_CASE("an object that is gone, or does not drain any more, is not acknowledged") {
  Bench bench;
  SUBCASE("by its answer") {
    bench.acknowledgements->acknowledge(named("a"), "7", "b");
    bench.fail(ErrorCode::kNotFound);
  }
  SUBCASE("before the next try") {
    bench.acknowledgements->acknowledge(named("a"), "7", "b");
    bench.fail(ErrorCode::kTimeout);
    bench.acknowledgements->forget(named("a"));
  }
  SUBCASE("after a conflict") {
    bench.acknowledgements->acknowledge(named("a"), "7", "b");
    bench.acknowledgements->acknowledge(named("a"), "8", "b");
    bench.acknowledgements->forget(named("a"));
    bench.fail(ErrorCode::kConflict);
  }
  SUBCASE("when nothing may be written any more") {
    bench.acknowledgements->acknowledge(named("a"), "7", "b");
    bench.may_write = false;
    CHECK_FALSE(bench.api.pending.front().request.still_wanted());
    bench.fail(ErrorCode::kCancelled);
  }
  SUBCASE("after stop()") {
    bench.acknowledgements->acknowledge(named("a"), "7", "b");
    bench.acknowledgements->stop();
    bench.fail(ErrorCode::kUnavailable);
    bench.acknowledgements->acknowledge(named("b"), "7", "b");
  }
  bench.loop.advance(10min);
  CHECK(bench.api.pending.empty());
}

TEST_CASE("an object that comes back and drains again is acknowledged again, whatever the first patch does") {
  Bench bench;
  bench.acknowledgements->acknowledge(named("a"), "7", "b");
  bench.acknowledgements->forget(named("a"));
  bench.acknowledgements->acknowledge(named("a"), "9", "c");
  REQUIRE(bench.api.pending.size() == 2);
  bench.fail(ErrorCode::kConflict);  // of the first
  REQUIRE(bench.api.pending.size() == 1);
  CHECK(bench.body() == patch("9", "c"));
  bench.api.answer("{}");
  CHECK(bench.acknowledged == 1);
}

TEST_CASE("so many patches are under way at a time, and all are sent in the end") {
  Bench bench;
  for (int i = 0; i < 200; ++i) {
    bench.acknowledgements->acknowledge(named("o" + std::to_string(i)), "7", "b");
  }
  CHECK(bench.api.pending.size() == Acknowledgements::kAtOnce);
  for (int i = 0; i < 200; ++i) {
    REQUIRE_FALSE(bench.api.pending.empty());
    bench.api.answer("{}");
    CHECK(bench.api.pending.size() <= Acknowledgements::kAtOnce);
  }
  CHECK(bench.acknowledged == 200);
}

TEST_CASE("acknowledgements that fail for long are logged once for all, tried with growing pauses, and said to work") {
  Error error{.code = ErrorCode::kUnavailable, .message = {}, .http_status = 500};
  SUBCASE("etcd takes no writes") {}
  SUBCASE("patches are not permitted") {
    error = {.code = ErrorCode::kForbidden, .message = {}, .http_status = 403};
  }
  SUBCASE("the credentials are not accepted any more") {
    error = {.code = ErrorCode::kUnauthorized, .message = {}, .http_status = 401};
  }
  Bench bench;
  for (const char* const name : {"a", "b", "c"}) {
    bench.acknowledgements->acknowledge(named(name), "7", "x");
  }
  int refused = 0;
  const auto refuse = [&] {
    error.message = "PATCH object " + std::to_string(++refused);  // each names another
    bench.api.fail(error);
  };
  bench.answer_for(3s, refuse);
  CHECK(bench.lines->empty());
  bench.answer_for(5min, refuse);
  CHECK(bench.count("drains cannot be acknowledged") == 1);
  CHECK(bench.count("object=ns/") == 1);
  CHECK(bench.answer_for(10min, refuse) <= 3 * 11);
  // One that is accepted brings the others.
  while (bench.api.pending.empty()) {
    bench.loop.advance(1s);
  }
  bench.api.answer("{}");
  CHECK(bench.answer_for(200ms, [&] { bench.api.answer("{}"); }) == 2);
  CHECK(bench.acknowledged == 3);
  CHECK(bench.count("no acknowledgement of a drain fails any more") == 1);
}

TEST_CASE("objects whose patches are rejected hold up no others") {
  Bench bench;
  for (int i = 0; i < 100; ++i) {
    bench.acknowledgements->acknowledge(named("rejected" + std::to_string(i)), "7", "b");
  }
  const Error rejected{.code = ErrorCode::kInvalid, .message = "a policy says no", .http_status = 422};
  bench.answer_for(5min, [&] { bench.api.fail(rejected); });
  bench.acknowledgements->acknowledge(named("good"), "7", "b");
  bench.answer_for(200ms, [&] {
    const bool is_good = bench.api.pending.front().request.target.contains("/good");
    is_good ? bench.api.answer("{}") : bench.api.fail(rejected);
  });
  CHECK(bench.acknowledged == 1);
  CHECK(bench.count("drains cannot be acknowledged") == 1);
}

TEST_CASE("an acknowledgement that somebody undoes is repeated with pauses that grow, and recorded once") {
  Bench bench;
  int version = 7;
  std::function<void()> answer;
  SUBCASE("a controller puts the labels back at once") {
    answer = [&] {
      bench.api.answer("{}");
      bench.acknowledgements->forget(named("a"));  // the watch shows that it has left
      bench.acknowledgements->acknowledge(named("a"), std::to_string(++version), "b");
    };
  }
  SUBCASE("a webhook takes back what the patch has changed, so that no watch shows anything") {
    answer = [&] { bench.api.answer(object(draining("me", "b"), "7")); };
  }
  bench.acknowledgements->acknowledge(named("a"), "7", "b");
  const int patches = bench.answer_for(1h, answer);
  CHECK(patches <= 25);
  CHECK(patches >= 15);
  CHECK(bench.undone == std::vector<std::string>{"a"});
  CHECK(bench.count("the acknowledgement of a drain does not last") == 1);
}

TEST_CASE("what works again, and is undone then, ends the pauses of no others") {
  Bench b;
  for (const char* name : {"a", "b"}) {
    b.acknowledgements->acknowledge(named(name), "7", "true");
  }
  b.answer_for(1min, [&] { b.api.fail({.code = ErrorCode::kUnavailable, .message = "x", .http_status = 500}); });
  CHECK(b.count("drains cannot be acknowledged") == 1);
  // A webhook puts the labels back, in the answer already.
  const auto undone = [&] { b.api.answer(object(draining("me", "true"))); };
  b.answer_for(1min, undone);
  CHECK(b.count("no acknowledgement of a drain fails any more") == 1);
  CHECK(b.undone.size() == 2);
  CHECK(b.answer_for(10min, undone) < 20);
}

TEST_CASE("an object that comes back later and drains again is acknowledged at once") {
  Bench bench;
  for (int time = 0; time < 10; ++time) {
    bench.acknowledgements->acknowledge(named("a"), std::to_string(time), "b");
    REQUIRE(bench.api.pending.size() == 1);
    bench.api.answer("{}");
    bench.loop.advance(Acknowledgements::kForget);
  }
  CHECK(bench.undone.empty());
}
