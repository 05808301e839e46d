#include <doctest/doctest.h>
#include <prometheus/counter.h>
#include <prometheus/registry.h>

#include <algorithm>
#include <optional>

#include "ops/health_handler.h"
#include "ops/metrics_handler.h"
#include "tests/support/fake_api.h"

namespace {

using namespace sharder;
using namespace sharder::ops;
using sharder::testing::FakeApi;
using sharder::testing::FakeClock;
using sharder::testing::FakeExecutor;

constexpr const char* kKnownUser = R"({"status":{"authenticated":true,"user":{"username":"prometheus"}}})";

http::Request request(std::string_view method, std::string_view path, std::string_view authorization = "") {
  return {.method = method, .path = path, .query = "", .content_type = "", .authorization = authorization, .body = ""};
}

std::optional<http::Response> send(http::Handler& handler, const http::Request& asked) {
  std::optional<http::Response> answer;
  handler.handle(asked, [&](http::Response response) { answer = std::move(response); });
  return answer;
}

std::string header(const http::Response& response, std::string_view name) {
  const auto found = std::ranges::find(response.headers, name, [](const auto& pair) { return pair.first; });
  return found == response.headers.end() ? "" : found->second;
}

struct Bench {
  FakeClock clock;
  FakeExecutor api_loop{clock}, worker{clock};
  FakeApi api{api_loop};
  AccessReviewer reviewer{api, clock, {}, Logger::none()};
  std::shared_ptr<prometheus::Registry> first = std::make_shared<prometheus::Registry>();
  std::shared_ptr<prometheus::Registry> second = std::make_shared<prometheus::Registry>();
  MetricsHandler handler{&reviewer, {first, second}, worker};
  std::optional<http::Response> answer;

  void ask(std::string_view method, std::string_view path, std::string_view authorization = "Bearer token") {
    answer.reset();
    handler.handle(request(method, path, authorization),
                   [this](http::Response response) { answer = std::move(response); });
  }
  void let_in() {
    api.answer(kKnownUser);
    api.answer(R"({"status":{"allowed":true}})");
    worker.run();
  }
};

TEST_CASE("an allowed caller gets the metrics of all sources as text") {
  Bench bench;
  prometheus::BuildCounter().Name("a_total").Help("A.").Register(*bench.first).Add({{"ring", "x\"\n"}}).Increment(2);
  prometheus::BuildCounter().Name("b_total").Help("B.").Register(*bench.second).Add({}).Increment();
  for (const char* method : {"GET", "HEAD"}) {  // the server leaves out the body of a HEAD
    bench.ask(method, "/metrics");
    if (!bench.api.pending.empty()) {
      CHECK_FALSE(bench.answer);
      bench.let_in();
    }
    bench.worker.run();
    REQUIRE(bench.answer);
    CHECK(bench.answer->status == 200);
    CHECK(bench.answer->content_type == "text/plain; version=0.0.4; charset=utf-8");
    CHECK(bench.answer->body ==
          "# HELP a_total A.\n# TYPE a_total counter\na_total{ring=\"x\\\"\\n\"} 2\n"
          "# HELP b_total B.\n# TYPE b_total counter\nb_total 1\n");
  }
}

TEST_CASE("metrics are gathered on the worker, not on the loop that brought the decision") {
  Bench bench;
  bench.ask("GET", "/metrics");
  bench.api.answer(kKnownUser);
  bench.api.answer(R"({"status":{"allowed":true}})");
  CHECK_FALSE(bench.answer);
  bench.worker.run();
  CHECK(bench.answer);
}

TEST_CASE("a handler may go while its answer is under way") {
  Bench bench;
  std::optional<http::Response> answer;
  {
    MetricsHandler handler(&bench.reviewer, {bench.first}, bench.worker);
    handler.handle(request("GET", "/metrics", "Bearer token"),
                   [&](http::Response response) { answer = std::move(response); });
  }
  bench.let_in();
  REQUIRE(answer);
  CHECK(answer->status == 200);
}

TEST_CASE("callers who may not see the metrics learn why") {
  Bench bench;
  bench.ask("GET", "/metrics", "");
  REQUIRE(bench.answer);
  CHECK(bench.answer->status == 401);
  CHECK(header(*bench.answer, "WWW-Authenticate") == "Bearer");

  bench.ask("GET", "/metrics");
  bench.api.answer(R"({"status":{"authenticated":false}})");
  REQUIRE(bench.answer);
  CHECK(bench.answer->status == 401);

  bench.ask("GET", "/metrics", "Bearer other");
  bench.api.answer(kKnownUser);
  bench.api.answer(R"({"status":{"allowed":false}})");
  REQUIRE(bench.answer);
  CHECK(bench.answer->status == 403);

  bench.ask("GET", "/metrics", "Bearer third");
  bench.api.fail({.code = ErrorCode::kTimeout, .message = "timeout"});
  REQUIRE(bench.answer);
  CHECK(bench.answer->status == 503);
  CHECK(header(*bench.answer, "Retry-After") == "1");
}

TEST_CASE("profiles are not found, behind the same check") {
  for (const char* path : {"/debug/pprof", "/debug/pprof/", "/debug/pprof/heap"}) {
    CAPTURE(path);
    Bench bench;
    bench.ask("GET", path, "");
    REQUIRE(bench.answer);
    CHECK(bench.answer->status == 401);
    bench.ask("GET", path);
    REQUIRE(bench.api.pending.size() == 1);
    bench.let_in();
    REQUIRE(bench.answer);
    CHECK(bench.answer->status == 404);
    CHECK(bench.answer->body.find("docs/") != std::string::npos);
    CHECK(std::ranges::count(bench.answer->body, '\n') == 1);
  }
}

TEST_CASE("other paths and methods of the metrics port are answered without asking the API server") {
  Bench bench;
  for (const char* path : {"/", "/metrics/", "/metricsx", "/debug/pprofx", "/healthz", "//metrics"}) {
    CAPTURE(path);
    bench.ask("GET", path);
    REQUIRE(bench.answer);
    CHECK(bench.answer->status == 404);
  }
  for (const char* method : {"POST", "PUT", "DELETE", "OPTIONS", "get"}) {
    CAPTURE(method);
    bench.ask(method, "/metrics");
    REQUIRE(bench.answer);
    CHECK(bench.answer->status == 405);
    CHECK(header(*bench.answer, "Allow") == "GET, HEAD");
  }
  CHECK(bench.api.pending.empty());
}

TEST_CASE("healthz is always ok, readyz says why not") {
  std::optional<std::string> reason = "caches are not synced: leases";
  HealthHandler handler([&] { return reason; });
  auto answer = send(handler, request("GET", "/readyz"));
  REQUIRE(answer);
  CHECK(answer->status == 503);
  CHECK(answer->body == "not ready: caches are not synced: leases\n");
  answer = send(handler, request("GET", "/healthz"));
  REQUIRE(answer);
  CHECK(answer->status == 200);
  CHECK(answer->body == "ok\n");
  reason.reset();
  answer = send(handler, request("HEAD", "/readyz"));
  REQUIRE(answer);
  CHECK(answer->status == 200);
  answer = send(handler, request("POST", "/readyz"));
  REQUIRE(answer);
  CHECK(answer->status == 405);
  answer = send(handler, request("GET", "/metrics"));
  REQUIRE(answer);
  CHECK(answer->status == 404);
}

}  // namespace
