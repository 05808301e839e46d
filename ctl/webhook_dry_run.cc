#include "ctl/webhook_dry_run.h"

#include <nlohmann/json.hpp>
#include <thread>

#include "ctl/access.h"
#include "kube/codec/json.h"

namespace sharder::ctl {

namespace {

using nlohmann::json;

constexpr const char* kName = "sharderctl-doctor";
constexpr std::chrono::seconds kTakenUp{1};  // by the API server, after a webhook configuration has changed

// A namespace that the ring selects.
std::optional<std::string> selected_namespace(Cluster& cluster, const Options& options, const Selection& selection,
                                              const std::optional<kube::ObjectMeta>& example) {
  if (example) {
    return example->object_namespace;
  }
  if (options.object_namespace && selection.selects_namespace(*options.object_namespace) == true) {
    return options.object_namespace;
  }
  std::optional<std::string> found;
  const auto listed = cluster.list_metadata(kube::kNamespaces, "", "", [&](const kube::ObjectMeta& object) {
    if (!found && selection.selects_namespace(object.name) == true) {
      found = object.name;
    }
  });
  return listed ? found : std::nullopt;
}

Result<DryRun> labelled(const RingFacts& ring, const std::string& object, const Result<std::string>& answer) {
  if (!answer) {
    return std::unexpected(answer.error());
  }
  const auto shown = kube::parse_json(*answer);
  const std::string shard =
      shown ? kube::string_of(kube::field_of(kube::value_at(*shown, "/metadata/labels"), ring.entry->shard_label()))
            : "";
  return DryRun{.outcome = shard.empty() ? DryRun::Outcome::kNotLabelled : DryRun::Outcome::kLabelled,
                .object = object};
}

Result<DryRun> create(Cluster& cluster, const RingFacts& ring, const kube::Resource& resource,
                      const std::string& object_namespace) {
  const json object{{"apiVersion", resource.group.empty() ? resource.version : resource.group + "/" + resource.version},
                    {"kind", resource.kind},
                    {"metadata", {{"name", kName}}}};
  return labelled(ring, name_of(resource) + " " + object_name(object_namespace, kName),
                  cluster.call({.method = kube::Method::kPost,
                                .target = kube::path(resource, object_namespace, {}, {}, {{"dryRun", "All"}}),
                                .body = object.dump(),
                                .content_type = "application/json",
                                .accept = std::string(kube::kMetadataOnlyWatch)},
                               "create", name_of(resource)));
}

Result<DryRun> update(Cluster& cluster, const RingFacts& ring, const kube::Resource& resource,
                      const kube::ObjectMeta& object) {
  const json patch{{"metadata", {{"labels", {{ring.entry->shard_label(), nullptr}}}}}};
  return labelled(
      ring, name_of(resource) + " " + object_name(object.object_namespace, object.name),
      cluster.call({.method = kube::Method::kPatch,
                    .target = kube::path(resource, object.object_namespace, object.name, {}, {{"dryRun", "All"}}),
                    .body = patch.dump(),
                    .content_type = std::string(kube::kMergePatch),
                    .accept = std::string(kube::kMetadataOnlyWatch)},
                   "patch", name_of(resource)));
}

// Whose own labels decide whether the ring selects them; those of a new one are not known.
bool selects_itself(const kube::Resource& resource) {
  return resource.group == kube::kNamespaces.group && resource.plural == kube::kNamespaces.plural;
}

Result<DryRun> try_once(Cluster& cluster, const RingFacts& ring, const kube::Resource& resource,
                        const std::string& object_namespace, const std::optional<kube::ObjectMeta>& example) {
  if (selects_itself(resource)) {
    return example ? update(cluster, ring, resource, *example)
                   : DryRun{.reason = "there is no object that the ring selects"};
  }
  auto tried = create(cluster, ring, resource, object_namespace);
  if (!tried && tried.error().code == ErrorCode::kInvalid && example) {
    tried = update(cluster, ring, resource, *example);
  }
  return tried;
}

}  // namespace

DryRun try_webhook(Cluster& cluster, const Options& options, const RingFacts& ring, const RingResource& resource,
                   const Selection& selection, const std::optional<kube::ObjectMeta>& example) {
  const auto in = resource.resource.namespaced ? selected_namespace(cluster, options, selection, example)
                                               : std::optional(std::string());
  if (!in) {
    return {.reason = "no namespace is known that the ring selects"};
  }
  const auto allowed =
      caller_may(cluster, {.verb = "create",
                           .resource = {.group = resource.resource.group, .resource = resource.resource.plural},
                           .object_namespace = *in});
  if (!allowed || !*allowed) {
    return {.reason =
                allowed ? "you may not create " + name_of(resource.resource) + " in " + *in : allowed.error().message};
  }
  auto tried = try_once(cluster, ring, resource.resource, *in, example);
  if (tried && tried->outcome == DryRun::Outcome::kNotLabelled) {
    std::this_thread::sleep_for(kTakenUp);
    tried = try_once(cluster, ring, resource.resource, *in, example);
  }
  return tried ? *tried : DryRun{.reason = "the dry run failed: " + tried.error().message};
}

}  // namespace sharder::ctl
