// Keeps a PodDisruptionBudget for every Deployment: one of its pods may be evicted at a time.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "shard/shard.h"

namespace shard = sharder::shard;
using nlohmann::json;

const shard::ResourceName kDeployments{.group = "apps", .plural = "deployments"};
const shard::ResourceName kBudgets{.group = "policy", .plural = "poddisruptionbudgets"};

json budget_of(const json& deployment) {
  const json& metadata = deployment.at("metadata");
  return {{"apiVersion", "policy/v1"},
          {"kind", "PodDisruptionBudget"},
          {"metadata",
           {{"name", metadata.at("name")},
            {"namespace", metadata.at("namespace")},
            {"ownerReferences", shard::owner_references(deployment)}}},
          {"spec", {{"maxUnavailable", 1}, {"selector", deployment.at("spec").at("selector")}}}};
}

sharder::Result<shard::Requeue> reconcile(shard::Reconciliation& run) {
  const json wanted = budget_of(run.object());
  if (std::ranges::any_of(run.owned(kBudgets), [&](const json& budget) { return budget["spec"] == wanted["spec"]; })) {
    return {};
  }
  if (const auto applied = run.client().apply(kBudgets, wanted, /*force=*/true); !applied) {
    return sharder::fail("apply the budget", applied.error());  // it is tried again, after a pause
  }
  run.event(shard::EventType::kNormal, "BudgetApplied", "one pod may be evicted at a time");
  return {};
}

int main(int argc, char** argv) {
  const auto log = sharder::Logger::to_stderr(sharder::LogLevel::kInfo, sharder::LogFormat::kJson);
  const auto fail = [&](const sharder::Error& error) {
    log.error("the shard has ended", {{"error", error.message}});
    return 1;
  };
  const auto made = shard::Shard::create({.ring = "disruption-budgets",
                                          .name = argc > 1 ? argv[1] : "",  // the host's name, as pods have one
                                          .user_agent = "disruption-budgets",
                                          .metrics_address = argc > 2 ? argv[2] : ":8080",
                                          .health_address = argc > 3 ? argv[3] : ":8081"},
                                         log);
  if (!made) {
    return fail(made.error());
  }
  if (auto added = (*made)->add({.main = kDeployments, .controlled = {{kBudgets}}, .reconcile = reconcile}); !added) {
    return fail(added.error());
  }
  const auto ended = (*made)->run();
  return ended ? 0 : fail(ended.error());
}
