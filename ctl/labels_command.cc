#include "ctl/labels_command.h"

#include <algorithm>
#include <atomic>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "ctl/cluster.h"
#include "ctl/document.h"
#include "ctl/rings.h"
#include "ctl/text.h"
#include "ring/names.h"
#include "ring/resources.h"

namespace sharder::ctl {

namespace {

using nlohmann::json;

constexpr std::size_t kBatch = 500;
constexpr std::size_t kAtOnce = 16;

ring::GroupResource parse_resource(const std::string& text) {
  const auto dot = text.find('.');
  return {.group = dot == std::string::npos ? "" : text.substr(dot + 1), .resource = text.substr(0, dot)};
}

// Those of --resource; else those of the ring, which has to be there.
Result<std::vector<ring::GroupResource>> wanted_resources(Cluster& cluster, const Invocation& invocation,
                                                          const std::string& name) {
  std::vector<ring::GroupResource> resources;
  std::ranges::transform(invocation.values("resource"), std::back_inserter(resources), parse_resource);
  if (!resources.empty()) {
    return resources;
  }
  auto ring = read_ring(cluster, name);
  if (!ring) {
    ring.error().message += "; for a ring that is gone, name its resources with --resource";
    return std::unexpected(std::move(ring.error()));
  }
  return ring::resources_of(ring->object.spec);
}

// Of the ring's resources, one that is not served has no objects; one that --resource names has to be there. Those that
// cannot be looked up become gaps, and the others do not wait for them.
Result<std::vector<kube::Resource>> resolve_all(Cluster& cluster, const std::vector<ring::GroupResource>& names,
                                                bool are_named, std::vector<Gap>& gaps) {
  std::vector<kube::Resource> resources;
  for (const ring::GroupResource& name : names) {
    auto resource = cluster.resolve(name);
    if (resource) {
      resources.push_back(*std::move(resource));
    } else if (resource.error().code != ErrorCode::kNotFound) {
      gaps.push_back({.verb = "discover", .resource = to_string(name), .error = std::move(resource.error())});
    } else if (are_named) {
      return std::unexpected(std::move(resource.error()));
    }
  }
  if (resources.empty() && !gaps.empty()) {
    return std::unexpected(std::move(gaps.front().error));
  }
  return resources;
}

class Remover {
 public:
  Remover(Cluster& cluster, std::string shard_label, std::string drain_label)
      : cluster_(cluster), shard_label_(std::move(shard_label)), drain_label_(std::move(drain_label)) {}

  // The objects of a resource that have this label.
  Result<void> remove(const kube::Resource& resource, const std::string& object_namespace, const std::string& label) {
    std::vector<kube::ObjectMeta> batch;
    auto listed = cluster_.list_metadata(resource, object_namespace, label, [&](const kube::ObjectMeta& object) {
      batch.push_back(object);
      if (batch.size() == kBatch) {
        patch_all(resource, std::exchange(batch, {}));
      }
    });
    patch_all(resource, batch);
    return listed;
  }

  std::int64_t removed() const { return removed_; }
  const std::vector<Error>& failures() const { return failures_; }

 private:
  void patch_all(const kube::Resource& resource, const std::vector<kube::ObjectMeta>& objects) {
    std::atomic<std::size_t> next = 0;
    std::vector<std::optional<Error>> errors(objects.size());
    {
      std::vector<std::jthread> threads;
      for (std::size_t i = 0; i < std::min(kAtOnce, objects.size()); ++i) {
        threads.emplace_back([&] {
          for (std::size_t at = next++; at < objects.size(); at = next++) {
            errors[at] = patch(resource, objects[at]);
          }
        });
      }
    }
    for (const auto& error : errors) {
      if (!error) {
        ++removed_;
      } else if (error->code != ErrorCode::kNotFound) {  // it was deleted meanwhile
        failures_.push_back(*error);
      }
    }
  }

  // To take a label away is right whatever the object has become; the uid says that it is still this object.
  std::optional<Error> patch(const kube::Resource& resource, const kube::ObjectMeta& object) {
    const auto done = cluster_.patch(
        resource, object.object_namespace, object.name,
        {{"metadata", {{"uid", object.uid}, {"labels", {{shard_label_, nullptr}, {drain_label_, nullptr}}}}}});
    return done ? std::nullopt : std::optional(done.error());
  }

  Cluster& cluster_;
  const std::string shard_label_, drain_label_;
  std::int64_t removed_ = 0;
  std::vector<Error> failures_;
};

}  // namespace

Result<ExitCode> run_labels_remove(Context& context) {
  const auto connected = Cluster::connect(context.options);
  if (!connected) {
    return std::unexpected(connected.error());
  }
  Cluster& cluster = **connected;
  const std::string& name = context.invocation.arguments.front();
  if (name.empty() || !ring::is_label_value(name)) {
    return fail(ErrorCode::kInvalid, "\"" + name + "\" is no name of a ring");
  }
  const auto resources = wanted_resources(cluster, context.invocation, name);
  if (!resources) {
    return std::unexpected(resources.error());
  }
  std::vector<Gap> gaps;
  const bool are_named = !context.invocation.values("resource").empty();
  const auto served = resolve_all(cluster, *resources, are_named, gaps);  // before anything is removed
  if (!served) {
    return std::unexpected(served.error());
  }
  std::vector<std::string> names;
  std::ranges::transform(*resources, std::back_inserter(names), [](const auto& one) { return to_string(one); });
  const std::string question = "Remove the labels of the ring " + name + " from all objects of " + join(names, ", ") +
                               "? While its sharder and its shards run, they set them again.";
  if (!context.invocation.enabled("yes") && !context.console.confirm(question)) {
    return fail(ErrorCode::kInvalid, "nothing was removed; --yes answers the question");
  }
  const std::string shard_label = ring::shard_label(name), drain_label = ring::drain_label(name);
  Remover remover(cluster, shard_label, drain_label);
  for (const kube::Resource& resource : *served) {
    const std::string object_namespace = resource.namespaced ? context.options.object_namespace.value_or("") : "";
    for (const std::string& label : {shard_label, drain_label}) {
      if (auto removed = remover.remove(resource, object_namespace, label); !removed) {
        gaps.push_back({.verb = "list", .resource = name_of(resource), .error = std::move(removed.error())});
      }
    }
  }
  if (context.options.structured()) {
    nlohmann::ordered_json all = document("LabelsRemoved");
    all["ring"] = name;
    all["objects"] = remover.removed();
    all["failed"] = remover.failures().size();
    all["incomplete"] = to_json(gaps);
    print_document(context, all);
  } else {
    context.console.print("ring " + name + ": labels removed from " + count_of(remover.removed(), "object") + "\n");
    note_gaps(context.console, gaps);
  }
  const ExitCode code = worst_of(gaps);
  if (remover.failures().empty()) {
    return code;
  }
  const Error& first = remover.failures().front();
  context.console.note(count_of(static_cast<std::int64_t>(remover.failures().size()), "object") +
                       " could not be patched: " + first.message);
  return worse(code, worse(ExitCode::kFindings, exit_code_of(first)));
}

}  // namespace sharder::ctl
