#pragma once

#include <doctest/doctest.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "rebalancer/rebalancer.h"
#include "tests/support/fake_cluster.h"

namespace sharder::testing {

using Json = nlohmann::json;

inline constexpr const char* kSecrets = "/api/v1/secrets";
inline constexpr const char* kConfigMaps = "/api/v1/configmaps";
inline constexpr const char* kNamespaces = "/api/v1/namespaces";
inline constexpr const char* kShard = "shard.alpha.sharding.timebertt.dev/ring";
inline constexpr const char* kDrain = "drain.alpha.sharding.timebertt.dev/ring";

// A leader's rebalancer, the RingSet it works by, and a cluster.
struct Harness {
  FakeClock clock;
  FakeExecutor executor{clock};
  FakeApi api{executor};
  FakeCluster cluster{executor, api};
  std::shared_ptr<std::string> lines = std::make_shared<std::string>();
  std::shared_ptr<prometheus::Registry> registry = std::make_shared<prometheus::Registry>();
  kube::Discovery discovery{api, clock, Logger::none()};
  kube::EventRecorder events{api, clock, "sharder", Logger::none()};
  Published<ring::RingSet> ring_sets;
  Published<ring::Snapshot> snapshots;
  std::map<std::string, std::string> troubles;  // as they are told: of what, the message
  std::optional<std::string> trouble;           // the first of them
  int told = 0;
  WaitGroup leader_work;
  std::unique_ptr<rebalancer::Rebalancer> rebalancer;
  ring::ControllerRing spec{.name = "ring",
                            .uid = "uid",
                            .generation = 1,
                            .resources = {{.main = {"", "secrets"}, .controlled = {{"", "configmaps"}}}},
                            .namespace_selector = {}};
  bool deleting = false;
  std::shared_ptr<const ring::Ring> members;
  std::vector<std::string> cordoned;  // available, and no members
  std::uint64_t version = 0;

  explicit Harness(std::size_t concurrent_moves = 100) {
    const ring::LabelSelector selector{
        .match_labels = {},
        .match_expressions = {
            {.key = "kubernetes.io/metadata.name", .op = ring::SelectorOperator::kNotIn, .values = {"kube-system"}}}};
    rebalancer = std::make_unique<rebalancer::Rebalancer>(
        executor, api, discovery, events, clock, rebalancer::Rebalancer::Inputs{ring_sets, snapshots},
        rebalancer::Settings{.sync_period = std::chrono::minutes(5),
                             .concurrent_moves = concurrent_moves,
                             .namespace_selector = selector},
        [this](const std::string& ring, const std::string& what, const std::optional<Error>& error) {
          CHECK(ring == "ring");
          if (error) {
            ++told;
            troubles[what] = error->message;
          } else {
            CHECK(troubles.erase(what) == 1);
          }
          trouble = troubles.empty() ? std::nullopt : std::optional(troubles.begin()->second);
        },
        registry.get(), Logger::to_string(lines), leader_work);
    add_namespace("ns");
    add_namespace("kube-system");
  }
  ~Harness() {
    rebalancer.reset();
    executor.run();
  }

  void add_namespace(const std::string& name, Json labels = Json::object()) {
    labels["kubernetes.io/metadata.name"] = name;
    cluster.put(kNamespaces, "", name, labels);
  }
  void publish() {
    auto ring_set = std::make_shared<ring::RingSet>();
    ring_set->version = ++version;
    ring_set->rings["ring"] = std::make_shared<const ring::RingEntry>(spec, members, cordoned);
    auto snapshot = std::make_shared<ring::Snapshot>();
    auto status = std::make_shared<ring::RingStatus>();
    status->spec = spec;
    status->deleting = deleting;
    snapshot->rings["ring"] = std::move(status);
    ring_sets.publish(std::move(ring_set));
    snapshots.publish(std::move(snapshot));
  }
  // The ring comes with these shards, and with `assigned` Secrets that are where they belong; we lead.
  void start(std::vector<std::string> shards, int assigned = 0) {
    members = std::make_shared<const ring::Ring>(std::move(shards));
    add_assigned(assigned);
    publish();
    rebalancer->on_leading(true);
    cluster.settle();
    advance(std::chrono::milliseconds(100));
  }
  void change_members(std::vector<std::string> shards) {
    members = std::make_shared<const ring::Ring>(std::move(shards));
    publish();
    rebalancer->on_shards_changed("ring");
    advance(std::chrono::milliseconds(200));
  }
  void change_spec() {
    ++spec.generation;
    publish();
    rebalancer->on_ring_changed("ring");
    advance(std::chrono::milliseconds(100));
  }
  void advance(std::chrono::nanoseconds time, std::chrono::nanoseconds step = std::chrono::milliseconds(50)) {
    cluster.advance(time, step);
  }

  std::string owner(const std::string& name) const {
    return std::string(members->owner("/Secret/ns/" + name).value_or(""));
  }
  void add_secret(const std::string& name, const Json& labels = Json::object()) {
    cluster.put(kSecrets, "ns", name, labels);
  }
  // Secrets that are where they belong in the present ring.
  void add_assigned(int count) {
    for (int number = 0; number < count; ++number) {
      const std::string name = "s-" + std::to_string(number);
      add_secret(name, {{kShard, owner(name)}});
    }
  }
  Json labels(const std::string& name) const { return cluster.labels(kSecrets, "ns/" + name); }
  // The labels of all Secrets, or ConfigMaps, of the namespace, by name.
  std::map<std::string, Json> all_labels(const std::string& collection = kSecrets) const {
    std::map<std::string, Json> found;
    for (const auto& object : cluster.objects(collection)) {
      if (object->object_namespace() == "ns") {
        found[object->name()] = object->labels();
      }
    }
    return found;
  }
  // Secrets that have a drain label, or are not on the shard that the ring gives.
  int misplaced() const {
    int count = 0;
    for (const auto& [name, found] : all_labels()) {
      const bool right = found.value(kShard, "") == owner(name) && !found.contains(kDrain);
      count += right ? 0 : 1;
    }
    return count;
  }
  // What a Go shard does: removes both labels; here the webhook is away.
  void acknowledge(const std::string& name) {
    Json found = labels(name);
    found.erase(kShard);
    found.erase(kDrain);
    add_secret(name, found);
  }
  // What a shard of ours does: sets the drain's target as its shard (protocol, 6).
  void acknowledge_to_target(const std::string& name) {
    Json found = labels(name);
    found[kShard] = found.at(kDrain);
    found.erase(kDrain);
    add_secret(name, found);
  }
  void acknowledge_all() {
    for (const auto& [name, found] : all_labels()) {
      if (found.contains(kDrain)) {
        acknowledge(name);
      }
    }
  }
  std::string metrics() const { return prometheus::TextSerializer().Serialize(registry->Collect()); }
  bool has_metric(const std::string& line) const { return ("\n" + metrics()).contains("\n" + line + "\n"); }
  std::vector<std::string> reasons() const {
    std::vector<std::string> found;
    found.reserve(cluster.events.size());
    for (const Json& event : cluster.events) {
      found.push_back(event["reason"]);
    }
    return found;
  }
};

}  // namespace sharder::testing
