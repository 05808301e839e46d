#include "shard/engine.h"

#include <doctest/doctest.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "kube/client/client.h"
#include "kube/client/discovery.h"
#include "shard/blocking_client.h"
#include "tests/apiserver/server.h"
#include "tests/support/eventually.h"
#include "tests/support/parse_kubeconfig.h"

using namespace sharder;
using namespace std::chrono_literals;
using nlohmann::json;
using shard::ObjectName;
using testing::eventually;

namespace {

const std::string kShardLabel = "shard.alpha.sharding.timebertt.dev/ring";
const std::string kDrainLabel = "drain.alpha.sharding.timebertt.dev/ring";
const shard::ResourceName kSecrets{.group = "", .plural = "secrets"};
const shard::ResourceName kConfigMaps{.group = "", .plural = "configmaps"};

// The embedded API server, the client of a shard `me` of `ring`, and what its reconcile function has seen.
struct World {
  apiserver::ApiServer server;
  SystemClock clock;
  std::shared_ptr<prometheus::Registry> registry = std::make_shared<prometheus::Registry>();
  std::unique_ptr<kube::Client> api =
      *kube::Client::create(*testing::parse_kubeconfig(server.kubeconfig(), "/", ""), {}, nullptr, Logger::none());
  kube::Discovery discovery{*api, Logger::none()};
  kube::EventRecorder events{*api, clock, "test", Logger::none()};
  std::atomic<bool> valid = true;
  shard::BlockingClient client{*api, discovery, "test", [this] { return valid.load(); }};
  std::shared_ptr<const shard::EngineTools> tools =
      std::make_shared<shard::EngineTools>(shard::EngineTools{.api = *api,
                                                              .discovery = discovery,
                                                              .events = events,
                                                              .clock = clock,
                                                              .registry = *registry,
                                                              .client = client,
                                                              .valid = [this] { return valid.load(); },
                                                              .ring = "ring",
                                                              .shard = "me",
                                                              .field_manager = "test",
                                                              .observer = nullptr});

  std::mutex mutex;
  std::condition_variable changed;
  std::map<std::string, int> runs;      // name -> reconciliations that began
  std::map<std::string, int> running;   // name -> now
  std::map<std::string, json> objects;  // name -> the object of the last one
  int most_of_one = 0;                  // reconciliations of one object at the same time
  int most = 0;                         // and of all
  std::set<std::string> held;           // those of these names do not end
  std::function<Result<shard::Requeue>(shard::Reconciliation&)> then = [](auto&) { return shard::Requeue{}; };
  std::unique_ptr<shard::Engine> engine;

  explicit World(shard::ControllerOptions options = {}, const Logger& log = Logger::none()) {
    options.name = "test";
    options.main = kSecrets;
    options.reconcile = [this](shard::Reconciliation& run) { return reconcile(run); };
    engine = std::make_unique<shard::Engine>(tools, std::move(options), log);
  }
  ~World() { release_all(); }

  Result<shard::Requeue> reconcile(shard::Reconciliation& run) {
    const std::string name = run.name().name;
    {
      std::unique_lock lock(mutex);
      ++runs[name];
      objects[name] = run.object();
      most_of_one = std::max(most_of_one, ++running[name]);
      int all = 0;
      for (const auto& [_, count] : running) {
        all += count;
      }
      most = std::max(most, all);
      changed.wait(lock, [&] { return !held.contains(name); });
    }
    auto result = then(run);
    const std::lock_guard lock(mutex);
    --running[name];
    return result;
  }

  void start() {
    engine->start();
    REQUIRE(eventually([this] { return engine->status().synced; }));
  }
  void hold(const std::string& name) {
    const std::lock_guard lock(mutex);
    held.insert(name);
  }
  void release_all() {
    const std::lock_guard lock(mutex);
    held.clear();
    changed.notify_all();
  }
  int runs_of(const std::string& name) {
    const std::lock_guard lock(mutex);
    return runs[name];
  }
  bool is_running(const std::string& name) {
    const std::lock_guard lock(mutex);
    return running[name] > 0;
  }

  json request(const std::string& method, const std::string& target, const json& body = nullptr,
               const std::string& type = "application/json") {
    apiserver::Request sent = apiserver::request_to(method, target);
    sent.body = body.is_null() ? "" : body.dump();
    sent.content_type = type;
    const apiserver::Answer answer = server.api().handle(sent);
    return answer.code < 300 ? json::parse(answer.body) : throw std::runtime_error(answer.body);
  }
  void create(const std::string& name, json labels = {{kShardLabel, "me"}}) {
    request("POST", "/api/v1/namespaces/default/secrets",
            {{"metadata", {{"name", name}, {"labels", std::move(labels)}}}});
  }
  void label(const std::string& name, const json& labels) {
    request("PATCH", "/api/v1/namespaces/default/secrets/" + name, {{"metadata", {{"labels", labels}}}},
            "application/merge-patch+json");
  }
  json get(const std::string& name) { return request("GET", "/api/v1/namespaces/default/secrets/" + name); }
  json labels(const std::string& name) { return get(name)["metadata"].value("labels", json::object()); }
  void create_map(const std::string& name, const std::string& owner, json labels = {{kShardLabel, "me"}}) {
    request("POST", "/api/v1/namespaces/default/configmaps",
            {{"metadata",
              {{"name", name},
               {"labels", std::move(labels)},
               {"ownerReferences",
                {{{"apiVersion", "v1"}, {"kind", "Secret"}, {"name", owner}, {"uid", "u"}, {"controller", true}}}}}}});
  }
};

}  // namespace

TEST_CASE("objects with this shard's label are reconciled, others are not") {
  World world;
  world.create("mine");
  world.create("other", {{kShardLabel, "other"}});
  world.create("nobody", json::object());
  world.start();
  CHECK(eventually([&] { return world.runs_of("mine") == 1; }));
  world.create("late");
  CHECK(eventually([&] { return world.runs_of("late") == 1; }));
  world.label("other", {{kShardLabel, "me"}});  // it comes from another shard
  CHECK(eventually([&] { return world.runs_of("other") == 1; }));
  CHECK(world.runs_of("nobody") == 0);
  CHECK(world.engine->status().objects == 3);
}

TEST_CASE("a change is reconciled, with the object as it is then") {
  World world;
  world.create("a");
  world.start();
  REQUIRE(eventually([&] { return world.runs_of("a") == 1; }));
  world.label("a", {{"color", "red"}});
  REQUIRE(eventually([&] { return world.runs_of("a") == 2; }));
  const std::lock_guard lock(world.mutex);
  CHECK(world.objects["a"]["metadata"]["labels"]["color"] == "red");
  CHECK(world.objects["a"]["kind"] == "Secret");
  CHECK_FALSE(world.objects["a"]["metadata"].contains("managedFields"));
}

TEST_CASE("one object is never reconciled twice at the same time, several are") {
  World world({.workers = 3});
  world.hold("a");
  world.hold("b");
  world.start();
  world.create("a");
  REQUIRE(eventually([&] { return world.is_running("a"); }));
  world.label("a", {{"color", "red"}});
  world.create("b");
  REQUIRE(eventually([&] { return world.is_running("b"); }));
  world.create("c");
  REQUIRE(eventually([&] { return world.runs_of("c") == 1; }));  // so a worker was free for `a`
  CHECK(world.runs_of("a") == 1);
  world.release_all();
  CHECK(eventually([&] { return world.runs_of("a") == 2; }));
  CHECK(world.most_of_one == 1);
  CHECK(world.most >= 2);
}

TEST_CASE("a drain is acknowledged in one patch, which sets the target (protocol, 6)") {
  World world;
  world.create("a");
  world.create("b");
  world.start();
  REQUIRE(eventually([&] { return world.runs_of("a") == 1 && world.runs_of("b") == 1; }));
  world.label("a", {{kDrainLabel, "other"}});
  CHECK(eventually([&] { return world.labels("a") == json{{kShardLabel, "other"}}; }));
  world.label("b", {{kDrainLabel, "true"}});
  CHECK(eventually([&] { return world.labels("b").empty(); }));
  CHECK(eventually([&] { return world.engine->status().objects == 0; }));
  CHECK(world.runs_of("a") == 1);
  CHECK(world.runs_of("b") == 1);
  CHECK(eventually([&] {  // its answer may come after the watch's event
    return prometheus::TextSerializer()
               .Serialize(world.registry->Collect())
               .find("controller_sharding_shard_acknowledged_drains_total{controller=\"test\"} 2") != std::string::npos;
  }));
}

TEST_CASE("a drain is acknowledged only when the running reconciliation has ended (decision 9, rule 2)") {
  World world({.workers = 2});
  world.hold("a");
  world.create("a");
  world.start();
  REQUIRE(eventually([&] { return world.is_running("a"); }));
  world.label("a", {{kDrainLabel, "other"}});
  REQUIRE(eventually([&] { return world.engine->status().draining == 1; }));
  world.create("b");  // whose drain comes later, and is acknowledged
  REQUIRE(eventually([&] { return world.runs_of("b") == 1; }));
  world.label("b", {{kDrainLabel, "other"}});
  REQUIRE(eventually([&] { return world.labels("b").size() == 1 && world.labels("b")[kShardLabel] == "other"; }));
  CHECK(world.labels("a")[kShardLabel] == "me");
  world.release_all();
  CHECK(eventually([&] { return world.labels("a") == json{{kShardLabel, "other"}}; }));
  CHECK(world.runs_of("a") == 1);
}

TEST_CASE("a drain that is taken back leaves the object here, and it is reconciled again") {
  World world;
  world.hold("a");
  world.create("a");
  world.start();
  REQUIRE(eventually([&] { return world.is_running("a"); }));
  world.label("a", {{kDrainLabel, "other"}});
  REQUIRE(eventually([&] { return world.engine->status().draining == 1; }));
  world.label("a", {{kDrainLabel, nullptr}});
  REQUIRE(eventually([&] { return world.engine->status().draining == 0; }));
  world.release_all();
  CHECK(eventually([&] { return world.runs_of("a") == 2; }));
  CHECK(world.labels("a") == json{{kShardLabel, "me"}});
}

TEST_CASE("a conflict at the acknowledgement is tried again on the fresh object") {
  World world;
  world.hold("a");
  world.create("a");
  world.start();
  REQUIRE(eventually([&] { return world.is_running("a"); }));
  world.label("a", {{kDrainLabel, "other"}});
  REQUIRE(eventually([&] { return world.engine->status().draining == 1; }));
  world.server.faults().add(*apiserver::Fault::from_json({{"fault", "error"},
                                                          {"status", 409},
                                                          {"method", "PATCH"},
                                                          {"path", "/api/v1/namespaces/default/secrets/a"},
                                                          {"count", 1}}));
  world.release_all();
  REQUIRE(eventually([&] { return world.server.faults().to_json()[0]["hits"] == 1; }));
  world.label("a", {{"color", "red"}});  // the change that the conflict was about
  CHECK(eventually([&] { return world.labels("a") == json{{kShardLabel, "other"}, {"color", "red"}}; }));
}

TEST_CASE("an object that loses this shard's label leaves cache and queue") {
  World world;
  world.hold("first");
  world.create("first");
  world.start();
  REQUIRE(eventually([&] { return world.is_running("first"); }));  // the only worker is busy
  world.create("a");
  REQUIRE(eventually([&] { return world.engine->status().depth == 1; }));
  world.label("a", {{kShardLabel, "other"}});
  REQUIRE(eventually([&] { return world.engine->status().depth == 0; }));
  world.release_all();
  world.create("last");
  REQUIRE(eventually([&] { return world.runs_of("last") == 1; }));
  CHECK(world.runs_of("a") == 0);
}

TEST_CASE("a controlled object leads to its owner: when it comes, changes or goes") {
  World world({.controlled = {{.resource = kConfigMaps}}});
  std::atomic<std::size_t> owned = 99;
  world.then = [&](shard::Reconciliation& run) {
    owned = run.owned(kConfigMaps).size();
    return shard::Requeue{};
  };
  world.create("a");
  world.start();
  REQUIRE(eventually([&] { return world.runs_of("a") == 1 && owned == 0; }));
  world.create_map("m", "a");
  REQUIRE(eventually([&] { return world.runs_of("a") == 2 && owned == 1; }));
  world.request("PATCH", "/api/v1/namespaces/default/configmaps/m", {{"data", {{"k", "v"}}}},
                "application/merge-patch+json");
  REQUIRE(eventually([&] { return world.runs_of("a") == 3; }));
  world.create_map("foreign", "a", {{kShardLabel, "other"}});
  world.request("DELETE", "/api/v1/namespaces/default/configmaps/m");
  REQUIRE(eventually([&] { return world.runs_of("a") == 4 && owned == 0; }));
}

TEST_CASE("another resource leads to where the function says, and is in the cache") {
  World world({.others = {{.resource = kConfigMaps,
                           .map =
                               [](const json& object) {
                                 return std::vector{ObjectName{.object_namespace = "default",
                                                               .name = object["data"].value("for", "")}};
                               },
                           .label_selector = "watched=yes"}}});
  std::atomic<bool> cached = false;
  world.then = [&](shard::Reconciliation& run) {
    cached = run.cached(kConfigMaps, {.object_namespace = "default", .name = "m"}).has_value();
    return shard::Requeue{};
  };
  world.create("a");
  world.start();
  REQUIRE(eventually([&] { return world.runs_of("a") == 1; }));
  world.request("POST", "/api/v1/namespaces/default/configmaps",
                {{"metadata", {{"name", "m"}, {"labels", {{"watched", "yes"}}}}}, {"data", {{"for", "a"}}}});
  CHECK(eventually([&] { return world.runs_of("a") == 2 && cached; }));
}

TEST_CASE("a failure is tried again with growing pauses, an exception counts as one") {
  World world({.backoff_base = 1ms, .backoff_max = 20ms});
  std::atomic<int> failures = 0;
  world.then = [&](auto&) -> Result<shard::Requeue> {
    if (failures++ < 3) {
      return fail(ErrorCode::kUnavailable, "not yet");
    }
    if (failures <= 5) {
      throw std::runtime_error("bug");
    }
    return shard::Requeue{};
  };
  world.create("a");
  world.start();
  CHECK(eventually([&] { return world.runs_of("a") == 6; }));
  CHECK(eventually([&] { return world.engine->status().running == 0; }));
  const std::string metrics = prometheus::TextSerializer().Serialize(world.registry->Collect());
  for (const char* line : {"controller_runtime_reconcile_total{controller=\"test\",result=\"error\"} 5",
                           "controller_runtime_reconcile_total{controller=\"test\",result=\"success\"} 1",
                           "controller_runtime_reconcile_panics_total{controller=\"test\"} 2",
                           "workqueue_retries_total{controller=\"test\",name=\"test\"} 5"}) {
    CAPTURE(line);
    CHECK(metrics.find(line) != std::string::npos);
  }
}

TEST_CASE("of what nlohmann throws, the log has which field or type was wrong, and no value (design, 6.12)") {
  const auto lines = std::make_shared<std::string>();
  World world({.backoff_base = 1ms, .backoff_max = 1ms}, Logger::to_string(lines));
  world.then = [&](shard::Reconciliation& run) -> Result<shard::Requeue> {
    switch (world.runs_of("a")) {
      case 1:
        run.object().at("missing");
        break;
      case 2:
        static_cast<void>(run.object().at("kind").get<int>());
        break;
      case 3:
        run.log().debug(json::parse("{hidden").dump());
        break;
      case 4:
        static_cast<void>(json{{"a", "hidden"}}.patch({{{"op", "test"}, {"path", "/a"}, {"value", 1}}}));
        break;
      default:
        break;
    }
    return {};
  };
  world.create("a");
  world.start();
  REQUIRE(eventually([&] { return world.runs_of("a") == 5; }));
  world.engine.reset();  // joins the workers, which write the log
  CHECK(lines->contains("key 'missing' not found"));
  CHECK(lines->contains("type must be number, but is string"));
  CHECK(lines->contains("parse_error"));
  CHECK_FALSE(lines->contains("hidden"));
}

TEST_CASE("a reconciliation can ask for another one later") {
  World world;
  world.then = [&](auto&) { return shard::Requeue{.after = world.runs_of("a") < 3 ? 10ms : 0ms}; };
  world.create("a");
  world.start();
  CHECK(eventually([&] { return world.runs_of("a") == 3; }));
}

TEST_CASE("every object is reconciled again after the resync period") {
  World world({.resync = 20ms});
  world.create("a");
  world.start();
  CHECK(eventually([&] { return world.runs_of("a") >= 3; }));
}

TEST_CASE("a predicate decides which changes count") {
  World world({.predicate = [](const json* before, const json& now) {
    return before == nullptr ||
           before->at("metadata")["labels"].value("color", "") != now.at("metadata")["labels"].value("color", "");
  }});
  world.create("a");
  world.create("end");
  world.start();
  REQUIRE(eventually([&] { return world.runs_of("a") == 1 && world.runs_of("end") == 1; }));
  world.label("a", {{"shape", "round"}});
  world.label("end", {{"color", "red"}});
  REQUIRE(eventually([&] { return world.runs_of("end") == 2; }));
  CHECK(world.runs_of("a") == 1);
}

TEST_CASE("with metadata alone, objects have their annotations and no data") {
  World world({.metadata_only = true});
  world.request("POST", "/api/v1/namespaces/default/secrets",
                {{"metadata", {{"name", "a"}, {"labels", {{kShardLabel, "me"}}}, {"annotations", {{"k", "v"}}}}},
                 {"data", {{"x", "eA=="}}}});
  world.start();
  REQUIRE(eventually([&] { return world.runs_of("a") == 1; }));
  world.label("a", {{"color", "red"}});  // which the watch shows, after the list
  REQUIRE(eventually([&] { return world.runs_of("a") == 2; }));
  const std::lock_guard lock(world.mutex);
  CHECK(world.objects["a"]["metadata"]["annotations"]["k"] == "v");
  CHECK(world.objects["a"]["kind"] == "Secret");
  CHECK_FALSE(world.objects["a"].contains("data"));
}

TEST_CASE("when the Lease is not valid any more, nothing begins, and nothing is written (decision 9, rules 1 and 4)") {
  World world;
  world.hold("a");
  world.create("a");
  std::atomic<int> refused = 0;
  world.then = [&](shard::Reconciliation& run) -> Result<shard::Requeue> {
    json object = run.object();
    object["metadata"]["labels"]["written"] = "yes";
    const json created{{"metadata", {{"name", "new"}, {"namespace", "default"}}}};
    const Result<json> results[] = {
        run.client().update(kSecrets, object),        run.client().patch(kSecrets, object, json::object()),
        run.client().create(kConfigMaps, created),    run.client().apply(kConfigMaps, created),
        run.client().update_status(kSecrets, object), run.client().patch_status(kSecrets, object, json::object())};
    for (const auto& result : results) {
      refused += !result && result.error().code == ErrorCode::kCancelled ? 1 : 0;
    }
    const auto removed = run.client().remove(kSecrets, object);
    refused += !removed && removed.error().code == ErrorCode::kCancelled ? 1 : 0;
    refused += run.client().get(kSecrets, run.name()) ? 1 : 0;  // reads are never refused
    return shard::Requeue{};
  };
  world.start();
  REQUIRE(eventually([&] { return world.is_running("a"); }));
  world.create("b");
  REQUIRE(eventually([&] { return world.engine->status().depth == 1; }));
  world.valid = false;
  world.release_all();
  CHECK(eventually([&] { return refused == 8; }));
  CHECK(eventually([&] { return world.engine->status().depth == 0; }));
  CHECK(world.runs_of("b") == 0);
  CHECK(world.labels("a") == json{{kShardLabel, "me"}});
}

TEST_CASE("writes carry what was read: a conflict for what has changed since, an error without a resourceVersion") {
  World world;
  world.create("a");
  const auto read = world.client.get(kSecrets, {.object_namespace = "default", .name = "a"});
  REQUIRE(read);
  world.label("a", {{"color", "red"}});
  CHECK(world.client.update(kSecrets, *read).error().code == ErrorCode::kConflict);
  CHECK(world.client.patch(kSecrets, *read, {{"data", {{"x", "eA=="}}}}).error().code == ErrorCode::kConflict);
  CHECK(world.client.remove(kSecrets, *read).error().code == ErrorCode::kConflict);
  json unread = *read;
  unread["metadata"].erase("resourceVersion");
  CHECK(world.client.update(kSecrets, unread).error().code == ErrorCode::kInvalid);
  CHECK(world.client.patch(kSecrets, unread, json::object()).error().code == ErrorCode::kInvalid);
  CHECK(world.client.remove(kSecrets, unread).error().code == ErrorCode::kInvalid);
  const auto fresh = world.client.get(kSecrets, {.object_namespace = "default", .name = "a"});
  REQUIRE(fresh);
  const auto patched = world.client.patch(kSecrets, *fresh, {{"data", {{"x", "eA=="}}}});
  REQUIRE(patched);
  CHECK((*patched)["data"]["x"] == "eA==");
  CHECK(world.client.list(kSecrets, "default", kShardLabel + "=me")->size() == 1);
  CHECK(world.client.remove(kSecrets, *patched));
  CHECK(world.client.get(kSecrets, {.object_namespace = "default", .name = "a"}).error().code == ErrorCode::kNotFound);
}

TEST_CASE("nothing is reconciled before the pause of the start is over (decision 9)") {
  World world;
  world.create("a");
  world.create("b");
  const auto began = std::chrono::steady_clock::now();
  world.engine->start(300ms);
  world.label("b", {{kShardLabel, "other"}});  // a move that was under way
  REQUIRE(eventually([&] { return world.runs_of("a") == 1; }));
  CHECK(std::chrono::steady_clock::now() - began >= 300ms);
  CHECK(world.runs_of("b") == 0);
}

TEST_CASE("stop() lets the running reconciliation end, and begins no other") {
  World world;
  world.hold("a");
  world.create("a");
  std::atomic<bool> asked_to_stop = false;
  world.then = [&](shard::Reconciliation& run) {
    asked_to_stop = run.stop().stop_requested();
    return shard::Requeue{};
  };
  world.start();
  REQUIRE(eventually([&] { return world.is_running("a"); }));
  world.create("b");
  REQUIRE(eventually([&] { return world.engine->status().depth == 1; }));
  world.engine->stop();
  CHECK_FALSE(world.engine->wait_until_idle(1ms));
  world.release_all();
  CHECK(world.engine->wait_until_idle(60s));
  CHECK(asked_to_stop);
  world.engine.reset();
  CHECK(world.runs_of("b") == 0);
}

TEST_CASE("watches that end, or whose history has expired, lose nothing") {
  World world;
  world.create("a");
  world.create("gone");
  world.start();
  REQUIRE(eventually([&] { return world.runs_of("a") == 1 && world.runs_of("gone") == 1; }));
  for (const std::optional<int> error : {std::optional<int>(), std::optional<int>(410)}) {
    world.server.expire_history();
    REQUIRE(eventually([&] { return world.server.cut_watches({}, error) > 0; }));
    world.label("a", {{"round", error ? "one" : "two"}});
    CHECK(eventually([&] {
      const std::lock_guard lock(world.mutex);
      return world.objects["a"]["metadata"]["labels"].value("round", "") == (error ? "one" : "two");
    }));
  }
  REQUIRE(eventually([&] { return world.server.cut_watches({}) > 0; }));
  world.request("DELETE", "/api/v1/namespaces/default/secrets/gone");
  CHECK(eventually([&] { return world.engine->status().objects == 1; }));
}
