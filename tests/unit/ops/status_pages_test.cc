#include "ops/status_pages.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "ops/loopback.h"
#include "ops/metrics_handler.h"
#include "tests/support/fake_api.h"

namespace {

using namespace sharder;
using namespace sharder::ops;
using sharder::testing::FakeApi;
using sharder::testing::FakeClock;
using sharder::testing::FakeExecutor;

std::string header(const http::Response& response, std::string_view name) {
  const auto found = std::ranges::find(response.headers, name, [](const auto& pair) { return pair.first; });
  return found == response.headers.end() ? "" : found->second;
}

http::Request request(std::string_view method, std::string_view path, std::string_view authorization,
                      std::string_view host) {
  return {.method = method,
          .path = path,
          .query = "",
          .content_type = "",
          .authorization = authorization,
          .host = host,
          .body = ""};
}

struct Bench {
  FakeClock clock;
  FakeExecutor loop{clock}, worker{clock};
  int gathered = 0;
  std::shared_ptr<const StatusPages> pages = std::make_shared<const StatusPages>(
      [this] {
        ++gathered;
        return Status{.replica = std::to_string(gathered)};
      },
      loop, clock);
  StatusHandler loopback{pages};
  std::optional<http::Response> answer;

  http::Reply reply() {
    return [this](http::Response response) { answer = std::move(response); };
  }
  int ask(std::string_view path, std::string_view host = "localhost:8082", std::string_view method = "GET") {
    answer.reset();
    loopback.handle(request(method, path, "", host), reply());
    loop.run();
    return answer ? answer->status : 0;
  }
};

TEST_CASE("the page permits its own style and script by their hashes, and nothing else") {
  Bench bench;
  REQUIRE(bench.ask("/status") == 200);
  CHECK(bench.answer->content_type == "text/html; charset=utf-8");
  const std::string policy = header(*bench.answer, "Content-Security-Policy");
  CHECK(policy.starts_with("default-src 'none'; connect-src 'self'; "));
  CHECK(policy.find("script-src 'sha256-") != std::string::npos);
  CHECK(policy.find("style-src 'sha256-") != std::string::npos);
  CHECK(policy.find("frame-ancestors 'none'") != std::string::npos);
  CHECK(policy.find("unsafe") == std::string::npos);
  CHECK(header(*bench.answer, "X-Content-Type-Options") == "nosniff");
  CHECK(header(*bench.answer, "Cache-Control") == "no-store");

  const std::string& page = bench.answer->body;
  CHECK(page.find("<script>") != std::string::npos);
  CHECK(page.find(" style=\"") == std::string::npos);  // the policy does not permit it
  for (const char* outside : {"src=", "href=\"http", "@import", "url(", "innerHTML", "eval("}) {
    CAPTURE(outside);
    CHECK(page.find(outside) == std::string::npos);
  }
}

TEST_CASE("the figures are gathered on the loop, at most twice a second however many ask") {
  Bench bench;
  bench.pages->answer("/status.json", bench.reply());
  CHECK(bench.gathered == 0);
  bench.loop.run();
  REQUIRE(bench.answer);
  CHECK(bench.answer->content_type == "application/json");
  CHECK(nlohmann::json::parse(bench.answer->body)["replica"] == "1");
  CHECK(bench.ask("/status.json") == 200);
  CHECK(bench.gathered == 1);
  bench.clock.advance(StatusPages::kLifetime);
  CHECK(bench.ask("/status.json") == 200);
  CHECK(bench.gathered == 2);
  CHECK(nlohmann::json::parse(bench.answer->body)["replica"] == "2");
}

TEST_CASE("on the loopback interface, only who calls this machine by such a name is answered (DNS rebinding)") {
  Bench bench;
  for (const char* host :
       {"localhost", "LOCALHOST:8082", "127.0.0.1", "127.0.0.1:80", "127.9.9.9", "[::1]", "[::1]:80"}) {
    CAPTURE(host);
    CHECK(bench.ask("/status.json", host) == 200);
  }
  for (const char* host : {"", "example.com", "localhost.example.com", "127.0.0.1.example.com", "10.0.0.1:8082",
                           "0.0.0.0", "[::]", "[::1", "[::1]x", "[fe80::1]", "::1", "127.1"}) {
    CAPTURE(host);
    CHECK(bench.ask("/status.json", host) == 403);
    CHECK(bench.ask("/status", host) == 403);
  }
}

TEST_CASE("there, / is the page, other paths are not found, other methods not allowed") {
  Bench bench;
  CHECK(bench.ask("/") == 200);
  CHECK(bench.answer->content_type == "text/html; charset=utf-8");
  CHECK(bench.ask("/status", "localhost", "HEAD") == 200);
  for (const char* path : {"/metrics", "/status/", "/status.jsonx", "/debug/pprof"}) {
    CHECK(bench.ask(path) == 404);
  }
  CHECK(bench.ask("/status", "localhost", "POST") == 405);
}

TEST_CASE("on the metrics port, both paths are behind the check of the caller, each by its own name") {
  Bench bench;
  FakeExecutor api_loop{bench.clock};
  FakeApi api{api_loop};
  AccessReviewer reviewer{api, bench.clock, {}, Logger::none()};
  MetricsHandler handler{&reviewer, {}, bench.worker, bench.pages};
  const auto ask = [&](std::string_view path, std::string_view authorization) {
    bench.answer.reset();
    handler.handle(request("GET", path, authorization, "localhost"), bench.reply());
  };
  for (const char* path : {"/status", "/status.json"}) {
    CAPTURE(path);
    ask(path, "");
    REQUIRE(bench.answer);
    CHECK(bench.answer->status == 401);
    ask(path, "Bearer token");
    CHECK_FALSE(bench.answer);
    REQUIRE(api.pending.size() == 1);
    if (api.pending.front().request.target.ends_with("tokenreviews")) {
      api.answer(R"({"status":{"authenticated":true,"user":{"username":"somebody"}}})");
    }
    REQUIRE(api.pending.size() == 1);
    CHECK(api.pending.front().request.body.find("\"path\":\"" + std::string(path) + "\"") != std::string::npos);
    api.answer(R"({"status":{"allowed":true}})");
    bench.loop.run();
    REQUIRE(bench.answer);
    CHECK(bench.answer->status == 200);
  }
  ask("/status.json", "Bearer other");
  api.answer(R"({"status":{"authenticated":true,"user":{"username":"else"}}})");
  api.answer(R"({"status":{"allowed":false}})");
  REQUIRE(bench.answer);
  CHECK(bench.answer->status == 403);
}

TEST_CASE("without pages the metrics port does not know the paths") {
  Bench bench;
  MetricsHandler handler{nullptr, {}, bench.worker};
  handler.handle(request("GET", "/status", "", "localhost"), bench.reply());
  REQUIRE(bench.answer);
  CHECK(bench.answer->status == 404);
}

TEST_CASE("an answer under way survives the pages") {
  Bench bench;
  {
    const StatusPages pages([] { return Status{.replica = "gone"}; }, bench.loop, bench.clock);
    pages.answer("/status.json", bench.reply());
  }
  bench.loop.run();
  REQUIRE(bench.answer);
  CHECK(nlohmann::json::parse(bench.answer->body)["replica"] == "gone");
}

TEST_CASE("loopback addresses are 127.0.0.0/8 and ::1, never a name") {
  for (const char* text : {"127.0.0.1", "127.255.0.9", "::1"}) {
    CHECK(is_loopback_address(text));
  }
  for (const char* text : {"", "localhost", "0.0.0.0", "128.0.0.1", "::", "::2", "::ffff:127.0.0.1", "127.0.0.1:80"}) {
    CHECK_FALSE(is_loopback_address(text));
  }
}

}  // namespace
