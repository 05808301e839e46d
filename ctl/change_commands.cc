#include "ctl/change_commands.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "base/rfc3339.h"
#include "ctl/cluster.h"
#include "ctl/document.h"
#include "ctl/rings.h"
#include "ctl/text.h"
#include "ring/names.h"
#include "ring/resources.h"

namespace sharder::ctl {

namespace {

using membership::ShardLease;
using nlohmann::json;
using std::chrono::steady_clock;

constexpr std::chrono::minutes kDrainTimeout{10};
constexpr std::chrono::seconds kLook{1};
// After a cordon a replica of the sharder that lags may still assign an object to the shard; the pass that comes so
// much later finds it (docs/design.md, 5).
constexpr std::chrono::seconds kSettled{10};

std::string own_hostname() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? std::string(name.data()) : std::string();
}

// One shard Lease of this name, in the ring of --ring and the namespace of -n where these are given.
Result<ShardLease> find_shard(Cluster& cluster, const Context& context, const std::string& name,
                              const std::string& object_namespace) {
  const std::string ring = context.invocation.value("ring").value_or("");
  if (!ring::is_label_value(ring)) {
    return fail(ErrorCode::kInvalid, "--ring: \"" + ring + "\" is no name of a ring");
  }
  std::vector<ShardLease> found;
  std::vector<std::string> names;
  const std::string selector = std::string(ring::kRingLabel) + (ring.empty() ? "" : "=" + ring);
  const auto listed = cluster.list(kube::kLeases, object_namespace, selector, [&](const json& lease) {
    if (auto shard = membership::decode_shard_lease(lease.dump())) {
      names.push_back(shard->id.name);
      if (shard->id.name == name) {
        found.push_back(*std::move(shard));
      }
    }
  });
  if (!listed) {
    return std::unexpected(listed.error());
  }
  if (found.empty()) {
    return fail(ErrorCode::kNotFound, "there is no shard \"" + name + "\"" +
                                          (ring.empty() ? "" : " of the ring " + ring) + what_there_is(name, names));
  }
  if (found.size() > 1) {
    std::vector<std::string> all;
    std::ranges::transform(found, std::back_inserter(all),
                           [](const ShardLease& shard) { return to_string(shard.id) + " of the ring " + shard.ring; });
    return fail(ErrorCode::kInvalid, "there are several shards \"" + name + "\": " + join(all, ", ") +
                                         "; choose with --ring or --namespace");
  }
  return std::move(found.front());
}

// SHARD, or with --self the shard that is called like this host, in the pod's own namespace.
Result<ShardLease> wanted_shard(Cluster& cluster, const Context& context) {
  const auto& arguments = context.invocation.arguments;
  const bool self = context.invocation.enabled("self");
  if (self != arguments.empty()) {
    return fail(ErrorCode::kInvalid,
                self ? "--self and the name of a shard exclude each other" : "the name of a shard is missing");
  }
  return self ? find_shard(cluster, context, own_hostname(), cluster.default_namespace())
              : find_shard(cluster, context, arguments.front(), context.options.object_namespace.value_or(""));
}

// What the API server does not answer is asked again until the deadline: a hook must not end at a short outage.
template <class Request>
auto ask_until(steady_clock::time_point deadline, const Request& request) {
  for (;;) {
    auto answer = request();
    if (answer || exit_code_of(answer.error()) != ExitCode::kTimeout || steady_clock::now() + kLook > deadline) {
      return answer;
    }
    std::this_thread::sleep_for(kLook);
  }
}

// The uid says that it is the Lease that was found. Its resourceVersion would change before the patch comes: the shard
// renews it every few seconds.
Result<void> mark(Cluster& cluster, const ShardLease& shard, bool cordoned) {
  const auto& id = shard.id;
  return cluster.patch(kube::kLeases, id.lease_namespace, id.name,
                       {{"metadata",
                         {{"uid", shard.uid},
                          {"annotations", {{ring::kCordonedAnnotation, cordoned ? json("true") : json(nullptr)}}}}}});
}

void report(const Context& context, const ShardLease& shard, std::string_view kind, std::string_view done,
            bool drained) {
  const auto& id = shard.id;
  if (context.options.structured()) {
    nlohmann::ordered_json all = document(kind);
    all["shard"] = id.name;
    all["namespace"] = id.lease_namespace;
    all["ring"] = shard.ring;
    all["drained"] = drained;
    print_document(context, all);
  } else if (context.options.output == Output::kName) {
    context.console.print("lease.coordination.k8s.io/" + id.name + "\n");
  } else {
    context.console.print("shard " + id.name + " of the ring " + shard.ring + ": " + std::string(done) + "\n");
  }
}

Result<ExitCode> set_cordoned(Context& context, bool cordoned) {
  const auto cluster = Cluster::connect(context.options);
  if (!cluster) {
    return std::unexpected(cluster.error());
  }
  const auto shard = wanted_shard(**cluster, context);
  if (!shard) {
    // As a postStart hook: a shard that is new here has no Lease yet, so it is not cordoned, and its container goes on.
    if (!cordoned && context.invocation.enabled("self") && shard.error().code == ErrorCode::kNotFound) {
      context.console.note(shard.error().message + ": nothing to uncordon");
      return ExitCode::kOk;
    }
    return std::unexpected(shard.error());
  }
  if (const auto marked = mark(**cluster, *shard, cordoned); !marked) {
    return std::unexpected(marked.error());
  }
  report(context, *shard, cordoned ? "Cordon" : "Uncordon", cordoned ? "cordoned" : "uncordoned", false);
  return ExitCode::kOk;
}

// How many objects have the label of the shard, or drain to it.
Result<std::int64_t> objects_left(Cluster& cluster, const std::vector<kube::Resource>& resources,
                                  const ShardLease& shard) {
  std::int64_t left = 0;
  const std::string& ring = shard.ring;
  for (const std::string& label : {ring::shard_label(ring), ring::drain_label(ring)}) {
    for (const kube::Resource& resource : resources) {
      const auto listed = cluster.list_metadata(resource, "", label + "=" + shard.id.name,
                                                [&left](const kube::ObjectMeta&) { ++left; });
      if (!listed) {
        return std::unexpected(listed.error());
      }
    }
  }
  return left;
}

// All resources of the shard's ring: only of all it can be said that nothing is left. One that is not served has no
// objects.
Result<std::vector<kube::Resource>> resources_of_ring(Cluster& cluster, const std::string& name) {
  const auto object = cluster.get(kube::kControllerRings, "", name);
  if (!object) {
    return std::unexpected(object.error());
  }
  const auto ring = decode_ring_facts(*object);
  if (!ring) {
    return std::unexpected(ring.error());
  }
  std::vector<kube::Resource> resources;
  for (const ring::GroupResource& one : ring::resources_of(ring->object.spec)) {
    auto resource = cluster.resolve(one);
    if (resource) {
      resources.push_back(*std::move(resource));
    } else if (resource.error().code != ErrorCode::kNotFound) {
      return std::unexpected(std::move(resource.error()));
    }
  }
  return resources;
}

// kConflict: the cordon has no effect. Who may not read the ring waits without this check.
Result<void> check_effect(Cluster& cluster, const ShardLease& shard) {
  const auto ring = read_ring(cluster, shard.ring);
  const Shard* const found = ring ? ring->find_shard(shard.id.name) : nullptr;
  if (found != nullptr && found->member) {
    return fail(ErrorCode::kConflict, "all available shards of the ring " + ring->name() +
                                          " are cordoned: then the cordons have no effect, and nothing drains");
  }
  return {};
}

// A short outage of the API server does not end the wait.
Result<void> wait_until_empty(Context& context, Cluster& cluster, const ShardLease& shard,
                              steady_clock::time_point deadline) {
  const auto cordoned = steady_clock::now();
  const auto resources = ask_until(deadline, [&] { return resources_of_ring(cluster, shard.ring); });
  if (!resources) {
    return std::unexpected(resources.error());
  }
  std::optional<std::int64_t> last;
  for (;;) {
    const auto began = steady_clock::now();
    const auto left = objects_left(cluster, *resources, shard);
    if (!left && exit_code_of(left.error()) != ExitCode::kTimeout) {
      return std::unexpected(left.error());
    }
    if (left == 0 && began >= cordoned + kSettled) {
      return {};
    }
    if (left && last != *left && context.options.output == Output::kTable) {
      context.console.note(count_of(*left, "object") + " left");
    }
    last = left ? std::optional(*left) : last;
    // A list that takes long is not begun again and again.
    const auto pause = std::max<steady_clock::duration>(kLook, 3 * (steady_clock::now() - began));
    if (steady_clock::now() + pause > deadline) {
      return fail(ErrorCode::kTimeout, "the shard " + shard.id.name + " is not drained in time: " +
                                           (last ? count_of(*last, "object") + " left" : left.error().message));
    }
    std::this_thread::sleep_for(pause);
  }
}

}  // namespace

Result<ExitCode> run_cordon(Context& context) {
  return set_cordoned(context, true);
}

Result<ExitCode> run_uncordon(Context& context) {
  return set_cordoned(context, false);
}

Result<ExitCode> run_drain(Context& context) {
  const auto timeout = duration_flag(context.invocation, "timeout", kDrainTimeout);
  if (!timeout) {
    return std::unexpected(timeout.error());
  }
  const auto connected = Cluster::connect(context.options);
  if (!connected) {
    return std::unexpected(connected.error());
  }
  Cluster& cluster = **connected;
  const bool wait = context.invocation.enabled("wait");
  const auto began = steady_clock::now();
  const auto deadline = began + (wait ? *timeout : std::chrono::milliseconds(0));
  if (wait) {
    cluster.set_deadline(std::max(deadline, began + kLook));
  }
  const auto shard = ask_until(deadline, [&] { return wanted_shard(cluster, context); });
  if (!shard) {
    return std::unexpected(shard.error());
  }
  if (const auto marked = ask_until(deadline, [&] { return mark(cluster, *shard, true); }); !marked) {
    return std::unexpected(marked.error());
  }
  if (!wait) {
    report(context, *shard, "Drain", "cordoned, its objects drain", false);
    return ExitCode::kOk;
  }
  auto drained = check_effect(cluster, *shard);
  if (drained) {
    drained = wait_until_empty(context, cluster, *shard, deadline);
  }
  if (!drained) {
    drained.error().message += "; it stays cordoned";
    return std::unexpected(std::move(drained.error()));
  }
  report(context, *shard, "Drain", "drained", true);
  return ExitCode::kOk;
}

Result<ExitCode> run_rebalance(Context& context) {
  const auto connected = Cluster::connect(context.options);
  if (!connected) {
    return std::unexpected(connected.error());
  }
  const std::string& name = context.invocation.arguments.front();
  const auto ring = read_ring(**connected, name);
  if (!ring) {
    return std::unexpected(ring.error());
  }
  const std::string now = format_micro_time(SystemClock().wall());
  const auto patched =
      (*connected)
          ->patch(
              kube::kControllerRings, "", name,
              {{"metadata", {{"uid", ring->object.spec.uid}, {"annotations", {{ring::kRebalanceAnnotation, now}}}}}});
  if (!patched) {
    return std::unexpected(patched.error());
  }
  if (context.options.structured()) {
    nlohmann::ordered_json all = document("Rebalance");
    all["ring"] = name;
    all["requestedAt"] = now;
    print_document(context, all);
  } else if (context.options.output == Output::kName) {
    context.console.print("controllerring.sharding.timebertt.dev/" + name + "\n");
  } else {
    context.console.print("ring " + name + ": a pass is requested\n");
  }
  return ExitCode::kOk;
}

}  // namespace sharder::ctl
