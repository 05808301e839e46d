#include "ops/access_reviewer.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "tests/support/fake_api.h"

// protocol, 7: /metrics only for callers that TokenReview authenticates and SubjectAccessReview allows.
namespace {

using namespace sharder;
using namespace sharder::ops;
using namespace std::chrono_literals;
using nlohmann::json;
using sharder::testing::FakeApi;
using sharder::testing::FakeClock;
using sharder::testing::FakeExecutor;

constexpr const char* kKnownUser =
    R"({"status":{"authenticated":true,"user":{"username":"prometheus","uid":"u1","groups":["a","b"],
        "extra":{"scopes":["x","y"]}}}})";
constexpr const char* kUnknownUser = R"({"status":{"authenticated":false,"error":"invalid bearer token"}})";
constexpr const char* kAllowed = R"({"status":{"allowed":true}})";
constexpr const char* kDenied = R"({"status":{"allowed":false,"reason":"no rule"}})";

struct Bench {
  FakeClock clock;
  FakeExecutor executor{clock};
  FakeApi api{executor};
  std::shared_ptr<std::string> lines = std::make_shared<std::string>();
  std::optional<AccessReviewer> reviewer;
  std::vector<Access> answers;

  explicit Bench(AccessReviewerOptions options = {}) {
    reviewer.emplace(api, clock, options, Logger::to_string(lines));
  }
  void ask(std::string_view authorization, std::string_view path = "/metrics") {
    reviewer->review(authorization, path, [this](Access access) { answers.push_back(access); });
  }
  // Asks and plays both reviews.
  Access decide(std::string_view authorization, const char* token_review, const char* access_review) {
    ask(authorization);
    api.answer(token_review, 201);
    if (access_review != nullptr) {
      api.answer(access_review, 201);
    }
    REQUIRE_FALSE(answers.empty());
    return answers.back();
  }
};

TEST_CASE("a known and allowed caller is let in after both reviews") {
  Bench bench;
  bench.ask("Bearer secret-token");
  REQUIRE(bench.api.pending.size() == 1);
  const auto token_review = bench.api.answer(kKnownUser, 201);
  CHECK(token_review.method == kube::Method::kPost);
  CHECK(token_review.target == "/apis/authentication.k8s.io/v1/tokenreviews");
  CHECK(token_review.timeout == 5s);
  const json asked = json::parse(token_review.body);
  CHECK(asked["kind"] == "TokenReview");
  CHECK(asked["apiVersion"] == "authentication.k8s.io/v1");
  CHECK(asked["spec"] == json{{"token", "secret-token"}});
  CHECK(bench.answers.empty());
  REQUIRE(bench.api.pending.size() == 1);
  const auto access_review = bench.api.answer(kAllowed, 201);
  CHECK(access_review.target == "/apis/authorization.k8s.io/v1/subjectaccessreviews");
  CHECK(json::parse(access_review.body)["spec"] == json::parse(R"({
      "user": "prometheus", "uid": "u1", "groups": ["a", "b"], "extra": {"scopes": ["x", "y"]},
      "nonResourceAttributes": {"path": "/metrics", "verb": "get"}})"));
  CHECK(bench.answers == std::vector{Access::kAllowed});
}

TEST_CASE("without a bearer token nobody is asked") {
  Bench bench;
  for (const char* header : {"", "Bearer", "Bearer ", "Bearer  token", "Basic dXNlcjpwYXNz", "token", "Bearertoken"}) {
    CAPTURE(header);
    bench.ask(header);
    CHECK(bench.answers.back() == Access::kUnauthenticated);
  }
  CHECK(bench.api.pending.empty());
}

TEST_CASE("the scheme is taken in any case, and what follows the token is not part of it") {
  Bench bench;
  for (const char* header : {"bearer one", "BEARER two", "Bearer three more"}) {
    bench.ask(header);
  }
  REQUIRE(bench.api.pending.size() == 3);
  CHECK(json::parse(bench.api.pending[2].request.body)["spec"]["token"] == "three");
}

TEST_CASE("a caller who is not known is distinguished from one who is not permitted") {
  Bench bench;
  CHECK(bench.decide("Bearer a", kUnknownUser, nullptr) == Access::kUnauthenticated);
  CHECK(bench.decide("Bearer b", kKnownUser, kDenied) == Access::kDenied);
  CHECK(bench.decide("Bearer c", "{}", nullptr) == Access::kUnauthenticated);
  CHECK(bench.decide("Bearer d", R"({"status":"nonsense"})", nullptr) == Access::kUnauthenticated);
  CHECK(bench.decide("Bearer d2", R"({"status":["nonsense"]})", nullptr) == Access::kUnauthenticated);
  CHECK(bench.decide("Bearer d3", R"({"status":{"authenticated":true,"user":[1]}})", R"({"status":[1]})") ==
        Access::kDenied);
  CHECK(bench.decide("Bearer e", kKnownUser, R"({"status":{"allowed":"true"}})") == Access::kDenied);
}

TEST_CASE("a decision holds for a while: permitted for a minute, not permitted for 10 seconds") {
  struct Case {
    const char* token_review;
    const char* access_review;
    Access access;
    std::chrono::seconds holds;
  };
  for (const Case& c :
       {Case{kKnownUser, kAllowed, Access::kAllowed, 60s}, Case{kKnownUser, kDenied, Access::kDenied, 10s},
        Case{kUnknownUser, nullptr, Access::kUnauthenticated, 10s}}) {
    CAPTURE(static_cast<int>(c.access));
    Bench bench;
    bench.decide("Bearer token", c.token_review, c.access_review);
    bench.executor.advance(c.holds - 1ns);
    bench.ask("Bearer token");
    CHECK(bench.api.pending.empty());
    CHECK(bench.answers == std::vector{c.access, c.access});
    bench.executor.advance(1ns);
    bench.ask("Bearer token");
    CHECK(bench.api.pending.size() == 1);
  }
}

TEST_CASE("a decision is about one token and one path") {
  Bench bench;
  CHECK(bench.decide("Bearer token", kKnownUser, kAllowed) == Access::kAllowed);
  bench.ask("Bearer other");
  CHECK(bench.api.pending.size() == 1);
  bench.ask("Bearer token", "/debug/pprof/heap");
  CHECK(bench.api.pending.size() == 2);
}

TEST_CASE("while the API server cannot be asked nobody is let in, it is said once, and nothing is remembered") {
  Bench bench;
  for (int i = 0; i < 3; ++i) {
    bench.ask("Bearer token");
    bench.api.fail({.code = ErrorCode::kUnavailable, .message = "POST tokenreviews: no connection"});
    CHECK(bench.answers.back() == Access::kUnknown);
  }
  CHECK(bench.lines->find("no connection") == bench.lines->rfind("no connection"));
  CHECK(bench.lines->find("no connection") != std::string::npos);
  // The second review can fail as well.
  bench.ask("Bearer token");
  bench.api.answer(kKnownUser);
  bench.api.fail({.code = ErrorCode::kForbidden, .message = "may not create subjectaccessreviews"});
  CHECK(bench.answers.back() == Access::kUnknown);
  CHECK(bench.lines->find("may not create") != std::string::npos);
  CHECK(bench.decide("Bearer token", kKnownUser, kAllowed) == Access::kAllowed);
}

TEST_CASE("an answer that is no JSON object counts as no answer") {
  Bench bench;
  for (const char* body : {"", "nonsense", "[]", "null"}) {
    CAPTURE(body);
    CHECK(bench.decide("Bearer token", body, nullptr) == Access::kUnknown);
  }
}

TEST_CASE("a token is in no line of the log, whatever the API server answers (design, 6.12)") {
  Bench bench;
  const auto refuse = [&](const Error& error) {
    bench.ask("Bearer QZQZQZ");
    bench.api.fail(error);
    CHECK(bench.answers.back() == Access::kUnknown);
  };
  refuse({.code = ErrorCode::kUnavailable,
          .message = "POST tokenreviews: 500 Internal Server Error: bad token QZQZQZ",
          .http_status = 500,
          .reason = "QZQZQZ"});
  CHECK(bench.lines->contains("error=\"TokenReview: unavailable (HTTP 500)\""));
  for (const char* const body :
       {R"({"spec":{"token":"QZQZQZ)", R"({"spec":{"token":QZQZQZ}})", "QZQZQZ", R"(["QZQZQZ"])"}) {
    CHECK(bench.decide("Bearer QZQZQZ", body, nullptr) == Access::kUnknown);
  }
  CHECK(bench.lines->contains("TokenReview: not valid JSON: line 1, column "));
  bench.ask("Bearer QZQZQZ");
  bench.api.answer(kKnownUser);
  bench.api.fail({.code = ErrorCode::kForbidden, .message = "QZQZQZ may not", .http_status = 403});
  CHECK(bench.lines->contains("error=\"SubjectAccessReview: forbidden (HTTP 403)\""));
  CHECK_FALSE(bench.lines->contains("QZ"));
}

TEST_CASE("a token of strange bytes is reviewed like any other, and throws nothing") {
  Bench bench;
  CHECK(bench.decide("Bearer \xff\xfe", kUnknownUser, nullptr) == Access::kUnauthenticated);
}

TEST_CASE("a request that was cancelled is not logged") {
  Bench bench;
  bench.ask("Bearer token");
  bench.api.fail({.code = ErrorCode::kCancelled, .message = "cancelled"});
  CHECK(bench.answers == std::vector{Access::kUnknown});
  CHECK(bench.lines->empty());
}

TEST_CASE("a flood of wrong tokens reaches the API server only as far as the limit") {
  Bench bench({.max_reviews = 2});
  bench.ask("Bearer a");
  bench.ask("Bearer b");
  bench.ask("Bearer c");
  CHECK(bench.api.pending.size() == 2);
  CHECK(bench.answers == std::vector{Access::kUnknown});
  bench.api.answer(kUnknownUser);
  bench.api.fail({.code = ErrorCode::kTimeout, .message = "timeout"});
  bench.ask("Bearer c");
  CHECK(bench.api.pending.size() == 1);  // room again, after an answer as after a failure
}

TEST_CASE("the number of remembered decisions is bounded, and those against a caller make room first") {
  Bench bench({.max_decisions = 3});
  CHECK(bench.decide("Bearer good", kKnownUser, kAllowed) == Access::kAllowed);
  for (const char* token : {"Bearer 1", "Bearer 2", "Bearer 3", "Bearer 4"}) {
    bench.executor.advance(1s);
    bench.decide(token, kUnknownUser, nullptr);
  }
  bench.ask("Bearer good");
  bench.ask("Bearer 4");
  CHECK(bench.api.pending.empty());
  bench.ask("Bearer 1");  // had to go
  CHECK(bench.api.pending.size() == 1);
  bench.api.answer(kUnknownUser);
  // What has ended makes room for what is new.
  bench.executor.advance(30s);
  bench.decide("Bearer 5", kUnknownUser, nullptr);
  bench.decide("Bearer 6", kUnknownUser, nullptr);
  bench.ask("Bearer good");
  bench.ask("Bearer 5");
  bench.ask("Bearer 6");
  CHECK(bench.api.pending.empty());
}

TEST_CASE("the reviewer may go while a review is under way") {
  Bench bench;
  bench.ask("Bearer token");
  bench.reviewer.reset();
  bench.api.answer(kKnownUser);
  bench.api.answer(kAllowed);
  CHECK(bench.answers == std::vector{Access::kAllowed});
}

}  // namespace
