#include "shard/shard.h"

#include <doctest/doctest.h>

#include <atomic>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "shard/observer.h"
#include "tests/apiserver/server.h"
#include "tests/support/eventually.h"
#include "tests/support/temp_folder.h"

using namespace sharder;
using namespace std::chrono_literals;
using nlohmann::json;
using testing::eventually;

namespace {

const std::string kShardLabel = "shard.alpha.sharding.timebertt.dev/ring";
const shard::ResourceName kSecrets{.group = "", .plural = "secrets"};
const std::string kStateLabel = "alpha.sharding.timebertt.dev/state";
const std::string kLease = "/apis/coordination.k8s.io/v1/namespaces/default/leases/me";

// A shard `me` of `ring`, which runs in a thread.
struct World {
  apiserver::ApiServer server;
  testing::TempFolder folder;
  std::string journal = folder / "journal";
  std::atomic<int> runs = 0;
  std::atomic<bool> hold = false;
  std::unique_ptr<shard::Shard> shard;
  std::optional<Result<void>> ended;
  std::atomic<bool> has_ended = false;
  std::jthread thread;

  explicit World(std::chrono::milliseconds lease_duration = 3s) {
    auto made = shard::Shard::create({.ring = "ring",
                                      .name = "me",
                                      .kubeconfig = folder.write("kubeconfig", server.kubeconfig()),
                                      .lease_duration = lease_duration,
                                      .renew_deadline = 2s,
                                      .retry_period = 200ms,
                                      .metrics_address = "127.0.0.1:0",
                                      .health_address = "127.0.0.1:0",
                                      .observer = *shard::journal_to(journal, "me")},
                                     Logger::none());
    REQUIRE(made);
    shard = *std::move(made);
    REQUIRE(shard->add({.main = kSecrets, .reconcile = [this](shard::Reconciliation&) {
                          ++runs;
                          REQUIRE(eventually([this] { return !hold; }));
                          return shard::Requeue{};
                        }}));
  }
  ~World() {
    hold = false;
    shard->stop();
  }
  // In a container that was started anew: its Lease is held under this name, and the sharder has seen it.
  void run_again() {
    create_lease({{"holderIdentity", "me"}, {"leaseDurationSeconds", 15}, {"renewTime", "2026-01-01T00:00:00.000000Z"}},
                 {{kStateLabel, "ready"}});
    run();
  }
  void run() {
    thread = std::jthread([this] {
      ended = shard->run();
      has_ended = true;
    });
  }

  std::optional<json> get(const std::string& target) {
    const apiserver::Answer answer = server.api().handle(apiserver::request_to("GET", target));
    return answer.code == 200 ? std::optional(json::parse(answer.body)) : std::nullopt;
  }
  std::string holder() {
    const auto lease = get(kLease);
    return lease ? (*lease)["spec"].value("holderIdentity", "") : "no Lease";
  }
  void create(const std::string& name) {
    apiserver::Request request = apiserver::request_to("POST", "/api/v1/namespaces/default/secrets");
    request.body = json{{"metadata", {{"name", name}, {"labels", {{kShardLabel, "me"}}}}}}.dump();
    request.content_type = "application/json";
    REQUIRE(server.api().handle(request).code == 201);
  }
  void create_lease(const json& spec, const json& labels) {
    apiserver::Request request =
        apiserver::request_to("POST", "/apis/coordination.k8s.io/v1/namespaces/default/leases");
    request.body = json{{"metadata", {{"name", "me"}, {"labels", labels}}}, {"spec", spec}}.dump();
    request.content_type = "application/json";
    REQUIRE(server.api().handle(request).code == 201);
  }
  void patch_lease(const json& changes) {
    apiserver::Request request = apiserver::request_to("PATCH", kLease);
    request.body = changes.dump();
    request.content_type = "application/merge-patch+json";
    REQUIRE(server.api().handle(request).code == 200);
  }
  std::vector<json> lines() const {
    std::vector<json> lines;
    std::ifstream file(journal);
    for (std::string line; std::getline(file, line);) {
      lines.push_back(json::parse(line));
    }
    return lines;
  }
  // Seconds from when the Lease was acquired to the first reconciliation.
  double waited() const {
    std::optional<double> acquired;
    for (const json& line : lines()) {
      if (line["event"] == "lease" && !acquired) {
        acquired = line["time"].get<double>();
      } else if (line["event"] == "begin") {
        return line["time"].get<double>() - acquired.value();
      }
    }
    return -1;
  }
};

}  // namespace

TEST_CASE("a shard holds its Lease with the ring's label while it works, and releases it at the end (protocol, 3)") {
  World world;
  world.create("a");
  world.run_again();
  REQUIRE(eventually([&] { return world.runs == 1; }));
  CHECK(world.holder() == "me");
  CHECK((*world.get(kLease))["metadata"]["labels"]["alpha.sharding.timebertt.dev/controllerring"] == "ring");
  CHECK(world.shard->valid());
  CHECK(world.shard->metrics_port() != 0);
  CHECK(world.shard->health_port() != 0);
  world.shard->stop();
  REQUIRE(eventually([&] { return world.has_ended.load(); }));
  CHECK(*world.ended);
  CHECK_FALSE(world.shard->valid());
  CHECK(world.holder().empty());
}

TEST_CASE("the Lease is released only when the running reconciliation has ended (protocol, 3)") {
  World world;
  world.hold = true;
  world.create("a");
  world.run_again();
  REQUIRE(eventually([&] { return world.runs == 1; }));
  world.shard->stop();
  world.create("b");
  const auto version = [&] { return (*world.get(kLease))["metadata"]["resourceVersion"]; };
  const auto before = version();
  REQUIRE(eventually([&] { return version() != before; }));  // it is renewed meanwhile
  CHECK(world.holder() == "me");
  CHECK_FALSE(world.has_ended);
  world.hold = false;
  REQUIRE(eventually([&] { return world.has_ended.load(); }));
  CHECK(*world.ended);
  CHECK(world.holder().empty());
  CHECK(world.runs == 1);
}

TEST_CASE("a shard whose Lease is lost ends with an error, and does not release it (decision 9)") {
  World world;
  world.create("a");
  world.run_again();
  REQUIRE(eventually([&] { return world.runs == 1; }));
  world.patch_lease({{"spec", {{"holderIdentity", "shardlease-controller"}}}});
  REQUIRE(eventually([&] { return world.has_ended.load(); }));
  REQUIRE_FALSE(*world.ended);
  CHECK(world.ended->error().message.find("default/me was lost") != std::string::npos);
  CHECK(world.holder() == "shardlease-controller");
  world.create("b");
  CHECK(world.runs == 1);
}

TEST_CASE("under a name that comes back, nothing begins before the sharder has seen the Lease (decision 9)") {
  World world(60s);
  world.create("a");
  world.create_lease({{"holderIdentity", ""}}, {{kStateLabel, "ready"}});  // the sharder has not seen its release
  world.run();
  const auto version = [&] { return (*world.get(kLease))["metadata"]["resourceVersion"]; };
  REQUIRE(eventually([&] { return world.holder() == "me"; }));
  CHECK_FALSE((*world.get(kLease))["metadata"]["labels"].contains(kStateLabel));
  for (int renewals = 0; renewals < 3; ++renewals) {
    const auto before = version();
    REQUIRE(eventually([&] { return version() != before; }));
  }
  CHECK(world.runs == 0);
  world.patch_lease({{"metadata", {{"labels", {{kStateLabel, "ready"}}}}}});
  CHECK(eventually([&] { return world.runs == 1; }));
  CHECK((*world.get(kLease))["metadata"]["labels"][kStateLabel] == "ready");
}

TEST_CASE("a shard that makes its Lease waits until the sharder has seen it (decision 9)") {
  World world(60s);
  world.create("a");
  SUBCASE("the answer to its first write came") {}
  SUBCASE("it was lost") {
    world.server.faults().add(
        *apiserver::Fault::from_json({{"fault", "cut"}, {"when", "after"}, {"method", "POST"}, {"count", 1}}));
  }
  world.run();
  REQUIRE(eventually([&] { return world.holder() == "me"; }));
  world.patch_lease({{"metadata", {{"labels", {{kStateLabel, "ready"}}}}}});
  REQUIRE(eventually([&] { return world.runs == 1; }));
  CHECK(world.waited() >= 0.19);  // retry_period, by another clock
}

TEST_CASE("without a sharder, a name that comes back begins after the time of a sharder's Lease (decision 9)") {
  World world;
  world.create("a");
  world.create_lease({{"holderIdentity", ""}}, {});
  world.run();
  REQUIRE(eventually([&] { return world.runs == 1; }));
  CHECK(world.waited() >= 14.9);  // by another clock
}

TEST_CASE("a name that comes back waits too when the answer to its first write was lost (decision 9)") {
  World world(60s);
  world.create("a");
  world.create_lease({{"holderIdentity", ""}}, {});
  world.server.faults().add(
      *apiserver::Fault::from_json({{"fault", "cut"}, {"when", "after"}, {"method", "PUT"}, {"count", 1}}));
  world.run();
  REQUIRE(eventually([&] { return world.holder() == "me"; }));
  world.patch_lease({{"metadata", {{"labels", {{kStateLabel, "ready"}}}}}});  // before the shard knows that it holds it
  REQUIRE(eventually([&] { return world.runs == 1; }));
  CHECK(world.waited() >= 0.19);  // retry_period, by another clock
}

TEST_CASE("the journal has begin and end of each reconciliation, and how long the Lease is valid") {
  World world;
  world.create("a");
  world.run_again();
  REQUIRE(eventually([&] { return world.runs == 1; }));
  world.shard->stop();
  REQUIRE(eventually([&] { return world.has_ended.load(); }));
  int begins = 0;
  int ends = 0;
  double valid_until = 0;
  for (const json& line : world.lines()) {
    CHECK(line["shard"] == "me");
    if (line["event"] == "begin") {
      ++begins;
      CHECK(line["id"] == 1);
      CHECK(line["resource"] == "secrets");
      CHECK(line["namespace"] == "default");
      CHECK(line["name"] == "a");
      CHECK(line["resourceVersion"].is_string());
      CHECK(valid_until > line["time"].get<double>());
    } else if (line["event"] == "end") {
      ++ends;
      CHECK(line["id"] == 1);
    } else {
      CHECK(line["event"] == "lease");
      valid_until = line["validUntil"];
      CHECK(valid_until <= line["time"].get<double>() + 2.0);  // renew_deadline
    }
  }
  CHECK(begins == 1);
  CHECK(ends == 1);
  CHECK(valid_until <= world.lines().back()["time"].get<double>());  // it is over
}

TEST_CASE("what is missing or wrong is an error that names it") {
  testing::TempFolder folder;
  apiserver::ApiServer server;
  const std::string kubeconfig = folder.write("kubeconfig", server.kubeconfig());
  const auto message = [&](shard::Options options) {
    options.kubeconfig = options.kubeconfig.empty() ? kubeconfig : options.kubeconfig;
    const auto made = shard::Shard::create(std::move(options), Logger::none());
    return made ? std::string("none") : made.error().message;
  };
  CHECK(message({.ring = "ring", .name = "me"}) == "none");
  CHECK(message({.ring = "", .name = "me"}).starts_with("ring: "));
  CHECK(message({.ring = "a b", .name = "me"}).starts_with("ring: "));
  CHECK(message({.ring = "ring", .name = std::string(64, 'x')}).starts_with("name: "));
  CHECK(message({.ring = "ring", .name = "me", .lease_duration = 5s, .renew_deadline = 5s})
            .starts_with("lease_duration"));
  CHECK(message({.ring = "ring", .name = "me", .kubeconfig = folder / "none"}).find("none") != std::string::npos);

  const auto made = shard::Shard::create({.ring = "ring", .name = "me", .kubeconfig = kubeconfig}, Logger::none());
  REQUIRE(made);
  CHECK_FALSE((*made)->run());  // without a controller
  CHECK_FALSE((*made)->add({.main = kSecrets}));
  CHECK_FALSE((*made)->add({.reconcile = [](shard::Reconciliation&) { return shard::Requeue{}; }}));
  CHECK((*made)->add({.main = kSecrets, .reconcile = [](shard::Reconciliation&) { return shard::Requeue{}; }}));
  CHECK_FALSE((*made)->add({.main = kSecrets, .reconcile = [](shard::Reconciliation&) { return shard::Requeue{}; }}));
  CHECK_FALSE(shard::journal_to("/nowhere/journal", "me"));
}
