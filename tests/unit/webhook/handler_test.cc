#include "webhook/handler.h"

#include <doctest/doctest.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "base/base64.h"
#include "base/guarded.h"
#include "base/log.h"
#include "http/message.h"
#include "tests/support/fake_clock.h"
#include "tests/unit/webhook/support.h"
#include "webhook/assign.h"
#include "webhook/metrics.h"

namespace http = sharder::http;
namespace webhook = sharder::webhook;
using nlohmann::json;
using sharder::ring::RingSet;
using webhook::testing::Body;
using webhook::testing::deployment_review;
using webhook::testing::ring_set;
using webhook::testing::secret_update_review;

namespace {

constexpr std::string_view kPath = "/webhooks/sharder/controllerring/example";

// A handler with all it needs, and what it exports.
class Fixture {
 public:
  explicit Fixture(webhook::Assigner::Random random = std::mt19937_64(1))
      : handler(rings, metrics, clock, sharder::Logger::to_string(log_lines), std::move(random)) {
    publish(ring_set());
  }

  void publish(RingSet set) { rings.publish(std::make_shared<const RingSet>(std::move(set))); }

  http::Response send(http::Request request, std::string_view text) {
    const Body body(text);
    request.body = body.view();
    std::optional<http::Response> response;
    handler.handle(request, [&](http::Response answer) {
      CHECK_FALSE(response.has_value());
      response = std::move(answer);
    });
    REQUIRE(response.has_value());
    return std::move(*response);
  }
  http::Response post(std::string_view text, std::string_view path = kPath) {
    return send({.method = "POST",
                 .path = path,
                 .query = "timeout=5s",
                 .content_type = "application/json",
                 .authorization = {},
                 .body = {}},
                text);
  }
  json review(const json& sent, std::string_view path = kPath) {
    const auto response = post(sent.dump(), path);
    CHECK(response.status == 200);
    CHECK(response.content_type == "application/json");
    const auto answer = json::parse(response.body);
    CHECK(answer.at("response").at("allowed") == true);
    CHECK(answer.at("response").at("uid") == sent.at("request").at("uid"));
    return answer.at("response");
  }

  // Whether /metrics has this line.
  bool exports(const std::string& line) {
    return ("\n" + prometheus::TextSerializer().Serialize(registry.Collect())).find("\n" + line + "\n") !=
           std::string::npos;
  }
  bool mentions(const std::string& text) {
    return prometheus::TextSerializer().Serialize(registry.Collect()).find(text) != std::string::npos;
  }

  std::shared_ptr<std::string> log_lines = std::make_shared<std::string>();
  prometheus::Registry registry;
  webhook::WebhookMetrics metrics{registry};
  sharder::testing::FakeClock clock;
  sharder::Published<RingSet> rings;
  webhook::WebhookHandler handler;
};

std::string message(const json& response) {
  return response.at("status").at("message").get<std::string>();
}

}  // namespace

TEST_CASE("a review is answered from the newest ring set") {
  Fixture fixture;
  CHECK(message(fixture.review(deployment_review())) == "assigning object");
  fixture.publish(ring_set({}, 2));
  CHECK(message(fixture.review(deployment_review())) == "there is no available shard");
  fixture.publish(ring_set({"only"}, 3));
  const auto patch = json::parse(
      sharder::decode_base64(fixture.review(secret_update_review()).at("patch").get<std::string>()).value());
  CHECK(patch.at(1).at("value") == "only");
  fixture.publish(RingSet{.version = 4, .rings = {}});
  CHECK(message(fixture.review(deployment_review())) == "there is no such ring");
}

// design, invariant 2
TEST_CASE("before the first ring set reviews are allowed without a patch") {
  Fixture fixture;
  sharder::Published<RingSet> nothing;
  webhook::WebhookHandler handler(nothing, fixture.metrics, fixture.clock, sharder::Logger::none());
  const Body body(deployment_review().dump());
  int answers = 0;
  handler.handle({.method = "POST",
                  .path = kPath,
                  .query = {},
                  .content_type = "application/json",
                  .authorization = {},
                  .body = body.view()},
                 [&](const http::Response& response) {
                   ++answers;
                   CHECK(response.status == 200);
                   const auto answer = json::parse(response.body).at("response");
                   CHECK(answer.at("allowed") == true);
                   CHECK_FALSE(answer.contains("patch"));
                   CHECK(message(answer) == "the sharder does not know its rings yet");
                 });
  CHECK(answers == 1);
}

// protocol, 9
TEST_CASE("another path is a 404") {
  Fixture fixture;
  for (const char* path :
       {"/", "", "/webhooks", "/webhooks/sharder", "/webhooks/sharder/", "/webhooks/sharder/controllerring",
        "/webhooks/sharder/controllerring/", "/webhooks/sharder/controllerring/example/",
        "/webhooks/sharder/controllerring/a/b", "/webhooks/sharder/clusterring/example",
        "/webhooks/sharderx/controllerring/example", "/metrics", "*"}) {
    CAPTURE(path);
    const auto response = fixture.post(deployment_review().dump(), path);
    CHECK(response.status == 404);
    CHECK(response.body == "there is nothing here\n");
  }
}

TEST_CASE("a path of an unknown ring is allowed with a message") {
  Fixture fixture;
  for (const char* path : {"/webhooks/sharder/controllerring/unknown", "/webhooks/sharder/controllerring/ex%61mple",
                           "/webhooks/sharder/controllerring/\xff\"\n"}) {
    CHECK(message(fixture.review(deployment_review(), path)) == "there is no such ring");
  }
}

TEST_CASE("another method is a 405, another content type a 415") {
  Fixture fixture;
  const std::string text = deployment_review().dump();
  for (const char* method : {"GET", "PUT", "DELETE", "OPTIONS", "post", ""}) {
    const auto response = fixture.send({.method = method,
                                        .path = kPath,
                                        .query = {},
                                        .content_type = "application/json",
                                        .authorization = {},
                                        .body = {}},
                                       text);
    CHECK(response.status == 405);
    REQUIRE(response.headers.size() == 1);
    CHECK(response.headers[0] == std::pair<std::string, std::string>("Allow", "POST"));
    CHECK(response.body == "only POST is allowed here\n");
  }
  const auto status_of = [&](const char* content_type) {
    return fixture
        .send({.method = "POST",
               .path = kPath,
               .query = {},
               .content_type = content_type,
               .authorization = {},
               .body = {}},
              text)
        .status;
  };
  for (const char* wrong : {"", "text/plain", "application/jsonx", "application/yaml", ";charset=utf-8", "json",
                            "application/json, text/plain"}) {
    CAPTURE(wrong);
    CHECK(status_of(wrong) == 415);
  }
  for (const char* right :
       {"application/json", "application/json; charset=utf-8", "application/json ;charset=UTF-8", "Application/JSON"}) {
    CAPTURE(right);
    CHECK(status_of(right) == 200);
  }
}

TEST_CASE("a body that is no AdmissionReview is a 400 with one line of reason") {
  Fixture fixture;
  auto response = fixture.post("{\"kind\":\"Pod\"}");
  CHECK(response.status == 400);
  CHECK(response.body == "not an AdmissionReview: its kind is not AdmissionReview\n");
  CHECK(response.content_type == "text/plain; charset=utf-8");
  response = fixture.post("");
  CHECK(response.status == 400);
  CHECK(response.body == "not an AdmissionReview: it is not valid JSON\n");
  // The next request is not harmed.
  CHECK(message(fixture.review(deployment_review())) == "assigning object");
}

// design, invariant 6
TEST_CASE("an exception is an allowed answer with a warning, and counted") {
  Fixture fixture([]() -> std::uint64_t { throw std::runtime_error("no random numbers"); });
  auto review = deployment_review();
  review["request"]["object"]["metadata"].erase("name");
  review["request"]["object"]["metadata"]["generateName"] = "web-";
  const auto response = fixture.review(review);
  CHECK_FALSE(response.contains("patch"));
  CHECK(message(response) == "object cannot be assigned");
  CHECK(response.at("warnings") == json::array({"sharder: the object gets no shard: internal error"}));
  CHECK(fixture.log_lines->find("no random numbers") != std::string::npos);
  CHECK(fixture.exports("controller_runtime_webhook_panics_total 1"));
  CHECK(fixture.exports("controller_sharding_admission_warnings_total 1"));
  CHECK(fixture.exports(
      R"(controller_runtime_webhook_requests_total{code="200",webhook="/webhooks/sharder/controllerring/"} 1)"));
  CHECK(message(fixture.review(deployment_review())) == "assigning object");
}

TEST_CASE("something thrown that is no exception ends as an allowed answer too") {
  Fixture fixture([]() -> std::uint64_t { throw 7; });
  auto review = deployment_review();
  review["request"]["object"]["metadata"].erase("name");
  review["request"]["object"]["metadata"]["generateName"] = "web-";
  CHECK(fixture.review(review).contains("warnings"));
}

// protocol, 8
TEST_CASE("assignments are counted by ring, group and resource, dry runs are not") {
  Fixture fixture;
  fixture.review(deployment_review());
  fixture.review(deployment_review());
  fixture.review(secret_update_review());
  auto dry = secret_update_review();
  dry["request"]["dryRun"] = true;
  CHECK(message(fixture.review(dry)) == "assigning object");
  auto assigned = secret_update_review();
  assigned["request"]["object"]["metadata"]["labels"] = {{"shard.alpha.sharding.timebertt.dev/example", "shard-0"}};
  fixture.review(assigned);
  CHECK(fixture.exports(
      R"(controller_sharding_assignments_total{controllerring="example",group="apps",resource="deployments"} 2)"));
  CHECK(fixture.exports(
      R"(controller_sharding_assignments_total{controllerring="example",group="",resource="secrets"} 1)"));
}

TEST_CASE("the series of a ring that is gone go with the next request") {
  Fixture fixture;
  fixture.review(deployment_review());
  CHECK(fixture.mentions("controllerring=\"example\""));
  auto rings = ring_set({"shard-0"}, 2);
  rings.rings.erase("example");
  fixture.publish(rings);
  fixture.review(deployment_review());
  CHECK_FALSE(fixture.mentions("controllerring=\"example\""));
  fixture.publish(ring_set({"shard-0"}, 3));
  fixture.review(deployment_review());
  CHECK(fixture.exports(
      R"(controller_sharding_assignments_total{controllerring="example",group="apps",resource="deployments"} 1)"));
}

TEST_CASE("requests are counted by status, under one webhook label whatever the path") {
  Fixture fixture;
  fixture.review(deployment_review());
  fixture.review(deployment_review(), "/webhooks/sharder/controllerring/unknown");
  fixture.post("{}");
  fixture.post("{}", "/webhooks/sharder/controllerring/");
  fixture.post("{}", "/webhooks/sharder/other");
  fixture.post("{}", "/favicon.ico");
  for (const char* line :
       {R"(controller_runtime_webhook_requests_total{code="200",webhook="/webhooks/sharder/controllerring/"} 2)",
        R"(controller_runtime_webhook_requests_total{code="400",webhook="/webhooks/sharder/controllerring/"} 1)",
        R"(controller_runtime_webhook_requests_total{code="404",webhook="/webhooks/sharder/controllerring/"} 1)",
        R"(controller_runtime_webhook_requests_total{code="500",webhook="/webhooks/sharder/controllerring/"} 0)",
        R"(controller_runtime_webhook_requests_in_flight{webhook="/webhooks/sharder/controllerring/"} 0)",
        R"(controller_runtime_webhook_latency_seconds_count{webhook="/webhooks/sharder/controllerring/"} 4)"}) {
    CAPTURE(line);
    CHECK(fixture.exports(line));
  }
  CHECK_FALSE(fixture.mentions("unknown"));
}

TEST_CASE("each review can be seen in the log at level debug, without its content") {
  Fixture fixture;
  fixture.review(secret_update_review());
  CHECK(fixture.log_lines->find("705ab4f5-6393-11e8-b7cc-42010a800002") != std::string::npos);
  CHECK(fixture.log_lines->find("assigning object") != std::string::npos);
  CHECK(fixture.log_lines->find("c2VjcmV0") == std::string::npos);
}

TEST_CASE("a Secret that does not parse, or at which something throws, is not quoted (design, 6.12)") {
  struct ParserError : std::runtime_error {
    using std::runtime_error::runtime_error;
  };
  Fixture fixture([]() -> std::uint64_t { throw ParserError("unexpected QZQZQZ"); });
  for (const char* const body : {R"({"request":{"object":{"data":{"password":"QZQZQZ)", "QZQZQZ",
                                 R"({"kind":"QZQZQZ"})", R"({"kind":"AdmissionReview","apiVersion":"QZQZQZ"})"}) {
    CAPTURE(body);
    const auto response = fixture.post(body);
    CHECK(response.status == 400);
    CHECK(response.body.starts_with("not an AdmissionReview: "));
    CHECK_FALSE(response.body.contains("QZ"));
  }
  auto review = deployment_review();
  review["request"]["object"]["metadata"].erase("name");
  review["request"]["object"]["metadata"]["generateName"] = "web-";
  CHECK(fixture.review(review).at("warnings") == json::array({"sharder: the object gets no shard: internal error"}));
  CHECK(fixture.log_lines->contains("admission review failed"));
  CHECK(fixture.log_lines->contains("ParserError"));
  CHECK_FALSE(fixture.log_lines->contains("QZ"));
}

TEST_CASE("the random source of names is seeded differently each time") {
  auto one = webhook::WebhookHandler::seeded_random();
  auto two = webhook::WebhookHandler::seeded_random();
  CHECK(one() != two());
}
