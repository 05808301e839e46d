// note-copier: keeps the annotation `note` of every Secret of a shard on its ConfigMap `checksums-<name>` too. It needs
// no more than metadata, so its caches hold no more. measure.py runs it; controller_runtime/ has the same in Go.
//   note_copier --controllerring R --shard-name S --lease-namespace N --kubeconfig F --lease-seconds N
//               --metrics-bind-address A --health-bind-address A
#include <chrono>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "shard/shard.h"

namespace {

namespace shard = sharder::shard;

const shard::ResourceName kSecrets{.group = "", .plural = "secrets"};
const shard::ResourceName kConfigMaps{.group = "", .plural = "configmaps"};
const nlohmann::json::json_pointer kNote("/metadata/annotations/note");

sharder::Result<shard::Requeue> reconcile(shard::Reconciliation& run) {
  const std::string name = "checksums-" + run.name().name;
  const std::string note = run.object().value(kNote, "");
  for (const nlohmann::json& map : run.owned(kConfigMaps)) {
    if (map["metadata"]["name"] == name && map.value(kNote, "") == note) {
      return shard::Requeue{};
    }
  }
  const auto applied = run.client().apply(kConfigMaps,
                                          {{"apiVersion", "v1"},
                                           {"kind", "ConfigMap"},
                                           {"metadata",
                                            {{"name", name},
                                             {"namespace", run.name().object_namespace},
                                             {"annotations", {{"note", note}}},
                                             {"ownerReferences", shard::owner_references(run.object())}}}},
                                          /*force=*/true);
  if (!applied) {
    return std::unexpected(applied.error());
  }
  return shard::Requeue{};
}

int run(std::map<std::string, std::string> flags) {
  const auto fail = [](const sharder::Error& error) {
    std::fprintf(stderr, "note_copier: %s\n", error.message.c_str());
    return 1;
  };
  const std::chrono::milliseconds lease = std::chrono::seconds(std::stoul(flags["--lease-seconds"]));
  const auto made =
      shard::Shard::create({.ring = flags["--controllerring"],
                            .name = flags["--shard-name"],
                            .lease_namespace = flags["--lease-namespace"],
                            .kubeconfig = flags["--kubeconfig"],
                            .user_agent = "note-copier",
                            .lease_duration = lease,
                            .renew_deadline = lease * 2 / 3,
                            .retry_period = lease * 2 / 15,
                            .metrics_address = flags["--metrics-bind-address"],
                            .health_address = flags["--health-bind-address"]},
                           sharder::Logger::to_stderr(sharder::LogLevel::kInfo, sharder::LogFormat::kJson));
  if (!made) {
    return fail(made.error());
  }
  const auto added = (*made)->add({.main = kSecrets,
                                   .metadata_only = true,
                                   .controlled = {{.resource = kConfigMaps, .metadata_only = true}},
                                   .reconcile = reconcile,
                                   .workers = 5});
  if (!added) {
    return fail(added.error());
  }
  const auto ended = (*made)->run();
  return ended ? 0 : fail(ended.error());
}

}  // namespace

int main(int argc, char** argv) {
  std::map<std::string, std::string> flags;
  for (int i = 1; i + 1 < argc; i += 2) {
    flags[argv[i]] = argv[i + 1];
  }
  return run(std::move(flags));
}
