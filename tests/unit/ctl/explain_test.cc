#include "ctl/explain.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "tests/unit/ctl/facts.h"

using namespace sharder;
using namespace sharder::ctl;

namespace {

Explanation explained(const RingFacts& ring, const kube::ObjectMeta& object) {
  return explain(ring, facts::kSecrets, facts::everything(), object, facts::kNow);
}

std::string verdict(const RingFacts& ring, const kube::ObjectMeta& object) {
  return explained(ring, object).verdict().front();
}

}  // namespace

TEST_CASE("an object is explained by key, hash, and who has it, should have it and would have it next") {
  const RingFacts ring = facts::with_members({"a", "b", "c"});
  const std::string name = facts::name_for(ring, "b");
  const Explanation one = explained(ring, facts::secret(name, "b"));
  CHECK(one.key == "/Secret/ns/" + name);
  CHECK(one.desired == "b");
  CHECK(one.next == facts::with_members({"a", "c"}).entry->ring().owner(one.key));
  CHECK(one.shard_state == "ready");
  CHECK(one.verdict() == std::vector<std::string>{"it is where it belongs"});
  CHECK(one.exit_code() == ExitCode::kOk);
}

TEST_CASE("each state of an object has its verdict") {
  const RingFacts ring = facts::with_leases(
      {facts::lease("ring", "a", "a"), facts::lease("ring", "b", "b"), facts::lease("ring", "dead", "")});
  const std::string name = facts::name_for(ring, "b");
  CHECK(verdict(ring, facts::secret(name, "")) == "no shard has it: the leader gives it to b");
  CHECK(verdict(ring, facts::secret(name, "dead")) == "the shard dead is not available: the leader gives it to b");
  CHECK(verdict(ring, facts::secret(name, "a")) == "it belongs to b: the next pass asks a to let go");
  CHECK(explained(ring, facts::secret(name, "a")).exit_code() == ExitCode::kFindings);
  for (const auto& [value, target] : {std::pair{"b", "b"}, {"true", "b"}, {"", "b"}, {"c", "c"}}) {
    kube::ObjectMeta draining = facts::secret(name, "a");
    draining.labels.emplace_back(ring::drain_label("ring"), value);
    CHECK(verdict(ring, draining) ==
          "it waits until a acknowledges the drain and lets go; then " + std::string(target) + " gets it");
    CHECK(explained(ring, draining).exit_code() == ExitCode::kOk);
  }
  CHECK(verdict(facts::with_members({}), facts::secret(name, "")) ==
        "the ring has no available shard: it stays as it is");
}

TEST_CASE("an object without a controller is no controlled object, and one outside of the ring is nobody's finding") {
  const RingFacts ring = facts::with_members({"a"});
  const Explanation orphan =
      explain(ring, facts::kConfigMaps, facts::everything(), facts::secret("x", ""), facts::kNow);
  CHECK(orphan.verdict().front() == "it has no controller ownerReference, so it is not sharded");
  Selection elsewhere = facts::everything();
  elsewhere.selector.match_labels = {{"kubernetes.io/metadata.name", "elsewhere"}};
  const Explanation outside = explain(ring, facts::kSecrets, elsewhere, facts::secret("x", ""), facts::kNow);
  CHECK(outside.selected == false);
  CHECK(outside.exit_code() == ExitCode::kOk);
}

TEST_CASE("a controlled object that is apart from its owner is a finding, unless the owner moves") {
  const RingFacts ring = facts::with_members({"a", "b"});
  const std::string name = facts::name_for(ring, "b");
  const std::vector<ControlledObjects> apart{
      {.resource = "configmaps", .by_shard = {{"a", 1}, {"b", 1}}, .elsewhere = 1, .example = "x"}};
  Explanation one = explained(ring, facts::secret(name, "b"));
  one.controlled = apart;
  CHECK(one.verdict().back() == "1 object of configmaps that it controls is on another shard, such as x");
  CHECK(one.exit_code() == ExitCode::kFindings);
  one.controlled[0].elsewhere = 0;
  CHECK(one.exit_code() == ExitCode::kOk);
  kube::ObjectMeta draining = facts::secret(name, "a");
  draining.labels.emplace_back(ring::drain_label("ring"), "b");
  Explanation moving = explained(ring, draining);
  moving.controlled = apart;
  CHECK(moving.exit_code() == ExitCode::kOk);
}

TEST_CASE("managedFields tell who set the label last") {
  const nlohmann::json owns{
      {"f:metadata", {{"f:labels", {{"f:" + ring::shard_label("ring"), nlohmann::json::object()}}}}}};
  const nlohmann::json object{
      {"metadata",
       {{"managedFields",
         {{{"manager", "kubectl"}, {"operation", "Update"}, {"time", "2026-11-20T00:00:00Z"}, {"fieldsV1", owns}},
          {{"manager", "sharder"}, {"operation", "Update"}, {"time", "2026-11-22T00:00:00Z"}, {"fieldsV1", owns}},
          {{"manager", "other"},
           {"operation", "Update"},
           {"time", "2026-11-23T00:00:00Z"},
           {"fieldsV1", nlohmann::json::object()}}}}}}};
  const auto setter = setter_of_label(object, ring::shard_label("ring"));
  REQUIRE(setter);
  CHECK(setter->manager == "sharder");
  CHECK(!setter_of_label(object, ring::drain_label("ring")));
}

TEST_CASE("a resource has the names that kubectl knows it by") {
  const kube::Resource deployments{"apps", "v1", "deployments", "Deployment", true};
  for (const char* const word : {"deployments", "deployment", "Deployment", "deployments.apps", "deployment.apps"}) {
    CHECK(is_called(deployments, word));
  }
  CHECK(!is_called(deployments, "deployments.extensions"));
  CHECK(!is_called(facts::kSecrets.resource, "secrets.apps"));
}

TEST_CASE("an explanation is readable at 40 columns") {
  Explanation one = explained(facts::with_members({"a", "b"}), facts::secret("x", "gone"));
  one.controlled.push_back(
      {.resource = "deployments.apps", .by_shard = {{"a", 3}, {"", 1}}, .elsewhere = 1, .example = "y"});
  one.shard_set = Setter{.manager = "sharder", .operation = "Update", .time = facts::kNow - std::chrono::hours(5)};
  std::istringstream lines(render(one, {.width = 40}));
  for (std::string line; std::getline(lines, line);) {
    CAPTURE(line);
    CHECK(line.size() <= 40);
  }
}
