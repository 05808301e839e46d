#include "tests/apiserver/server.h"

#include <doctest/doctest.h>

#include <chrono>
#include <fstream>
#include <memory>
#include <mutex>
#include <string>

#include "base/guarded.h"
#include "kube/access/kubeconfig.h"
#include "kube/client/client.h"
#include "kube/client/resource.h"
#include "tests/support/call.h"
#include "tests/support/eventually.h"
#include "tests/support/temp_folder.h"

// The whole server, through our own client: TLS, HTTP/1.1, a token.
namespace sharder::apiserver {
namespace {

using nlohmann::json;
using testing::eventually;

const kube::Resource kSecrets{"", "v1", "secrets", "Secret", true};

class Fixture {
 public:
  explicit Fixture(ServerOptions options = {}) : server(std::move(options)) {
    const kube::KubeconfigText text{.file = "", .folder = "/", .text = server.kubeconfig()};
    auto config = kube::resolve_kubeconfig(std::span(&text, 1), "");
    REQUIRE(config);
    auto made = kube::Client::create(*std::move(config), {}, nullptr, Logger::none());
    REQUIRE(made);
    client = *std::move(made);
  }

  Result<json> send(kube::Request request) {
    auto answer = testing::call(*client, std::move(request));
    if (!answer) {
      return std::unexpected(answer.error());
    }
    return json::parse(answer->body);
  }
  Result<json> create(const std::string& name, const Labels& labels = {}) {
    json object = {{"metadata", {{"name", name}, {"labels", labels}}}};
    return send(kube::create_request(kSecrets, "default", object.dump(), "test"));
  }
  Result<json> label(const std::string& name, const json& metadata) {
    return send(
        kube::patch_request(kSecrets, "default", name, kube::kMergePatch, json{{"metadata", metadata}}.dump(), "test"));
  }
  Result<json> get(const std::string& target) { return send({.target = target}); }

  ApiServer server;
  std::unique_ptr<kube::Client> client;
};

std::string version_of(const json& object) {
  return object["metadata"]["resourceVersion"].get<std::string>();
}

// Collects the lines of a watch.
class Lines final : public kube::StreamSink {
 public:
  void on_open() override {}
  void on_data(std::string_view chunk) override {
    text_.with([&](std::string& text) { text += chunk; });
  }
  void on_close(std::optional<Error>) override {
    closed_.with([](bool& closed) { closed = true; });
  }
  bool contains(std::string_view what) const {
    return text_.with([&](const std::string& text) { return text.contains(what); });
  }
  bool closed() const {
    return closed_.with([](bool closed) { return closed; });
  }

 private:
  Guarded<std::string> text_;
  Guarded<bool> closed_;
};

std::shared_ptr<Lines> watch(Fixture& fixture, const std::string& target) {
  auto lines = std::make_shared<Lines>();
  fixture.client->loop().post([&fixture, lines, target] {
    static_cast<void>(fixture.client->open_stream({.target = target, .lane = kube::Lane::kWatch}, lines));
  });
  return lines;
}

TEST_CASE("what is created can be read, patched and deleted") {
  Fixture fixture;
  const auto made = fixture.create("a", {{"x", "1"}});
  REQUIRE(made);
  CHECK(fixture.create("a").error().code == ErrorCode::kExists);
  const auto changed = fixture.label("a", {{"labels", {{"x", "2"}}}, {"resourceVersion", version_of(*made)}});
  REQUIRE(changed);
  CHECK((*changed)["metadata"]["labels"]["x"] == "2");
  CHECK(fixture.label("a", {{"labels", {{"x", "3"}}}, {"resourceVersion", version_of(*made)}}).error().code ==
        ErrorCode::kConflict);
  const auto current = kube::Precondition::of(version_of(*changed)).value();
  const std::string uid = (*changed)["metadata"]["uid"];
  CHECK(fixture.send(kube::delete_request(kSecrets, "default", "a", "another-uid", current)).error().code ==
        ErrorCode::kConflict);
  const auto older = kube::Precondition::of(version_of(*made)).value();
  CHECK(fixture.send(kube::delete_request(kSecrets, "default", "a", uid, older)).error().code == ErrorCode::kConflict);
  CHECK(fixture.send(kube::delete_request(kSecrets, "default", "a", uid, current)));
  CHECK(fixture.get("/api/v1/namespaces/default/secrets/a").error().code == ErrorCode::kNotFound);
}

TEST_CASE("a watch shows what enters, changes in and leaves its selector") {
  Fixture fixture;
  REQUIRE(fixture.create("a", {{"shard", "one"}}));
  const auto lines = watch(fixture, "/api/v1/secrets?watch=1&labelSelector=shard%3Done");
  REQUIRE(eventually([&] { return lines->contains(R"("type":"ADDED")"); }));
  REQUIRE(fixture.label("a", {{"annotations", {{"y", "1"}}}}));
  REQUIRE(eventually([&] { return lines->contains(R"("type":"MODIFIED")"); }));
  REQUIRE(fixture.label("a", {{"labels", {{"shard", "two"}}}}));
  CHECK(eventually([&] { return lines->contains(R"("type":"DELETED")"); }));
}

TEST_CASE("expired history: 410 as an ERROR event, and for a continue token as a status that brings another one") {
  Fixture fixture;
  const auto first = fixture.create("a");
  REQUIRE(fixture.create("b"));
  const auto page = fixture.get("/api/v1/secrets?limit=1");
  REQUIRE(page);
  const auto token = (*page)["metadata"]["continue"].get<std::string>();
  fixture.server.expire_history();
  const auto lines = watch(fixture, "/api/v1/secrets?watch=1&resourceVersion=" + version_of(*first));
  CHECK(eventually([&] { return lines->contains(R"("code":410)") && lines->closed(); }));
  const auto next = fixture.get("/api/v1/secrets?limit=1&continue=" + token);
  REQUIRE_FALSE(next);
  CHECK(next.error().code == ErrorCode::kGone);
}

TEST_CASE("an error fault happens as often as it says") {
  Fixture fixture;
  const auto fault = Fault::from_json({{"fault", "error"}, {"status", 500}, {"verb", "create"}, {"count", 2}});
  REQUIRE(fault);
  fixture.server.faults().add(*fault);
  CHECK(fixture.create("a").error().http_status == 500);
  CHECK(fixture.get("/api/v1/secrets"));
  CHECK(fixture.create("a").error().http_status == 500);
  CHECK(fixture.create("a"));
}

TEST_CASE("a connection that is cut before has no effect, one cut after has") {
  Fixture fixture;
  for (const char* when : {"before", "after", "middle"}) {
    const auto fault = Fault::from_json({{"fault", "cut"}, {"when", when}, {"method", "POST"}, {"count", 1}});
    REQUIRE(fault);
    fixture.server.faults().add(*fault);
    const auto made = fixture.create(std::string("cut-") + when);
    REQUIRE_FALSE(made);
    CHECK(made.error().http_status == 0);  // and the client has not asked once more
    CHECK(fixture.get(std::string("/api/v1/namespaces/default/secrets/cut-") + when).has_value() ==
          (when != std::string("before")));
  }
}

TEST_CASE("watches can be cut, and a frozen server answers when it is thawed") {
  Fixture fixture;
  const auto lines = watch(fixture, "/api/v1/secrets?watch=1");
  REQUIRE(eventually([&] { return fixture.server.open_watches() == 1; }));
  CHECK(fixture.server.cut_watches({}) == 1);
  CHECK(eventually([&] { return lines->closed(); }));
  const auto freeze = Fault::from_json({{"fault", "freeze"}});
  REQUIRE(freeze);
  fixture.server.faults().add(*freeze);
  auto answered = std::make_shared<Guarded<bool>>();
  fixture.client->send({.target = "/api/v1/secrets"}, [answered](Result<kube::Response> answer) {
    answered->with([&](bool& value) { value = answer.has_value(); });
  });
  fixture.server.faults().thaw();
  CHECK(eventually([&] { return answered->with([](bool value) { return value; }); }));
}

TEST_CASE("a watch that trickles shows one event at a time") {
  Fixture fixture;
  const auto first = fixture.create("a");
  REQUIRE(first);
  for (const char* value : {"1", "2"}) {
    REQUIRE(fixture.label("a", {{"labels", {{"x", value}}}}));
  }
  const auto fault = Fault::from_json({{"fault", "trickle"}, {"milliseconds", 3'600'000}, {"verb", "watch"}});
  CHECK_FALSE(Fault::from_json({{"fault", "trickle"}}));
  REQUIRE(fault);
  const int id = fixture.server.faults().add(*fault);
  const std::string target = "/api/v1/secrets?watch=1&resourceVersion=" + version_of(*first);
  CHECK(fixture.server.faults().pause(request_to("GET", target)) == std::chrono::hours(1));
  CHECK(fixture.server.faults().pause(request_to("GET", "/api/v1/secrets")) == std::chrono::milliseconds(0));
  fixture.server.faults().remove(id);
  REQUIRE(Fault::from_json({{"fault", "trickle"}, {"milliseconds", 1}}));
  fixture.server.faults().add(*Fault::from_json({{"fault", "trickle"}, {"milliseconds", 1}}));
  const auto lines = watch(fixture, target);
  CHECK(eventually([&] { return lines->contains(R"("x":"1")") && lines->contains(R"("x":"2")"); }));
}

TEST_CASE("a clock that stands still gives every object the same creationTimestamp") {
  Fixture fixture;
  fixture.server.clock().freeze(WallTime(std::chrono::seconds(1'700'000'000)));
  const auto made = fixture.create("a");
  REQUIRE(made);
  CHECK((*made)["metadata"]["creationTimestamp"] == "2023-11-14T22:13:20Z");
}

TEST_CASE("the audit log has the bodies of writes where it is asked for them") {
  const testing::TempFolder folder;
  for (const AuditLevel level : {AuditLevel::kMetadata, AuditLevel::kRequestResponse}) {
    const auto file = folder / (level == AuditLevel::kMetadata ? "metadata" : "bodies");
    Fixture fixture({.audit_log = file, .audit_level = level});
    const auto made = fixture.create("a", {{"x", "1"}});
    REQUIRE(made);
    REQUIRE(fixture.get("/api/v1/namespaces/default/secrets/a"));
    std::ifstream lines(file);
    std::string write;
    std::string read;
    REQUIRE(std::getline(lines, write));
    REQUIRE(std::getline(lines, read));
    const json event = json::parse(write);
    CHECK(event["verb"] == "create");
    CHECK(event.contains("requestObject") == (level == AuditLevel::kRequestResponse));
    CHECK(event.value("/requestObject/metadata/labels/x"_json_pointer, "") ==
          (level == AuditLevel::kRequestResponse ? "1" : ""));
    CHECK(event.value("/responseObject/metadata/resourceVersion"_json_pointer, "") ==
          (level == AuditLevel::kRequestResponse ? version_of(*made) : ""));
    CHECK_FALSE(json::parse(read).contains("responseObject"));
  }
}

TEST_CASE("what an object owns goes with it") {
  Fixture fixture;
  const auto owner = fixture.create("owner");
  REQUIRE(owner);
  json owned = {{"apiVersion", "v1"}, {"kind", "ConfigMap"}, {"metadata", {{"name", "owned"}}}};
  owned["metadata"]["ownerReferences"] = {
      {{"apiVersion", "v1"}, {"kind", "Secret"}, {"name", "owner"}, {"uid", (*owner)["metadata"]["uid"]}}};
  REQUIRE(fixture.server.api().add(owned));
  REQUIRE(fixture.send(
      kube::delete_request(kSecrets, "default", "owner", "", kube::Precondition::of(version_of(*owner)).value())));
  CHECK(fixture.get("/api/v1/namespaces/default/configmaps/owned").error().code == ErrorCode::kNotFound);
}

}  // namespace
}  // namespace sharder::apiserver
