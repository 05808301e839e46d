#include "ctl/status_command.h"

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "base/rfc3339.h"
#include "ctl/text.h"
#include "kube/codec/json.h"

namespace sharder::ctl {

namespace {

using nlohmann::json;

constexpr std::string_view kLeaderLease = "sharder";
constexpr std::chrono::seconds kRefresh{2};
const kube::Resource kPods{"", "v1", "pods", "Pod", true};

std::optional<LeaderFacts> read_leader(Cluster& cluster, const Options& options, WallTime now, std::vector<Gap>& gaps) {
  auto lease = cluster.get(kube::kLeases, options.sharder_namespace, std::string(kLeaderLease));
  if (lease) {
    return decode_leader(*lease, now);
  }
  if (lease.error().code == ErrorCode::kNotFound) {
    return LeaderFacts{.lease = options.sharder_namespace + "/" + std::string(kLeaderLease)};
  }
  gaps.push_back({.verb = "get", .resource = name_of(kube::kLeases), .error = std::move(lease.error())});
  return std::nullopt;
}

// Most shards are called like their pod.
void read_pods(Cluster& cluster, RingReport& report, std::vector<Gap>& gaps) {
  for (const Shard& shard : report.ring.shards) {
    const auto& id = shard.lease.id;
    auto pod = cluster.get(kPods, id.lease_namespace, id.name);
    if (pod) {
      const std::string node = kube::string_at(*pod, "/spec/nodeName");
      report.pods[to_string(id)] = kube::string_at(*pod, "/status/phase") + (node.empty() ? "" : " on " + node);
    } else if (pod.error().code == ErrorCode::kNotFound) {
      report.pods[to_string(id)] = "none of this name";
    } else {
      gaps.push_back({.verb = "get", .resource = name_of(kPods), .error = std::move(pod.error())});
      return;
    }
  }
}

void count_objects(Cluster& cluster, RingReport& report, const std::string& object_namespace, std::vector<Gap>& gaps) {
  const std::size_t gaps_before = gaps.size();
  for (RingResource& resource : resolve_resources(cluster, report.ring, gaps)) {
    Counter counter(report.ring, resource, report.selection);
    auto listed = cluster.list_metadata(resource.resource, resource.resource.namespaced ? object_namespace : "", "",
                                        [&counter](const kube::ObjectMeta& object) { counter.count(object); });
    if (!listed) {
      gaps.push_back({.verb = "list", .resource = name_of(resource.resource), .error = std::move(listed.error())});
    }
    report.complete = report.complete && !counter.uncertain();
    report.census.add(counter.census());
    report.resources.push_back({.resource = std::move(resource), .census = counter.census()});
  }
  report.complete = report.complete && gaps.size() == gaps_before;
}

// What a person should know besides the tables.
void note_troubles(Context& context, const StatusReport& report) {
  for (const std::string& finding : findings(report)) {
    context.console.note(finding);
  }
  note_gaps(context.console, report.gaps);
}

// As -o asks for it.
void show(const Context& context, const StatusReport& report, bool shards) {
  if (context.options.structured()) {
    print_document(context, to_json(report));
  } else if (context.options.output == Output::kName) {
    std::string names;
    for (const RingReport& one : report.rings) {
      names += "controllerring.sharding.timebertt.dev/" + one.ring.name() + "\n";
    }
    context.console.print(names);
  } else {
    context.console.print(render_status(report, shards, context.options.output == Output::kWide, context.style()));
  }
}

bool is_table(const Context& context) {
  return context.options.output == Output::kTable || context.options.output == Output::kWide;
}

Result<ExitCode> watch_status(Context& context, Cluster& cluster, const StatusQuery& query, bool shards) {
  const bool drawn = context.console.terminal() && is_table(context);
  nlohmann::ordered_json last;
  kube::FailureKinds said;
  for (;;) {
    const auto report = read_status(cluster, context.options, query, {});
    if (!report) {
      if (!passes(context.console, report.error(), said)) {
        return std::unexpected(report.error());
      }
      std::this_thread::sleep_for(kRefresh);
      continue;
    }
    said.clear();
    if (drawn) {
      context.console.print("\033[H\033[2J" + render_leader(*report, context.style()));
      show(context, *report, shards);
      note_troubles(context, *report);
    } else if (auto now = without_times(to_json(*report)); now != last) {
      show(context, *report, shards);
      last = std::move(now);
    }
    std::this_thread::sleep_for(kRefresh);
  }
}

}  // namespace

Result<StatusReport> read_status(Cluster& cluster, const Options& options, const StatusQuery& query,
                                 const std::function<void(const StatusReport&)>& early) {
  StatusReport report;
  if (query.ring.empty()) {
    auto rings = read_rings(cluster);
    if (!rings) {
      return std::unexpected(std::move(rings.error()));
    }
    for (RingFacts& ring : rings->rings) {
      report.rings.push_back({.ring = std::move(ring)});
    }
    report.strays = std::move(rings->strays);
  } else {
    auto ring = read_ring(cluster, query.ring);
    if (!ring) {
      return std::unexpected(std::move(ring.error()));
    }
    report.rings.push_back({.ring = *std::move(ring)});
  }
  report.now = SystemClock().wall();
  report.leader = read_leader(cluster, options, report.now, report.gaps);
  if (early) {
    early(report);
  }
  for (RingReport& one : report.rings) {
    const auto webhook = read_webhook(cluster, one.ring.name(), report.gaps);
    if (webhook) {
      one.certificate_expiry = last_expiry(webhook->ca_pem);
    }
    one.selection = read_selection(cluster, one.ring, webhook, report.gaps);
    if (query.pods) {
      read_pods(cluster, one, report.gaps);
    }
    count_objects(cluster, one, query.object_namespace, report.gaps);
  }
  return report;
}

bool passes(Console& console, const Error& error, kube::FailureKinds& said) {
  const bool may_pass = exit_code_of(error) == ExitCode::kTimeout;
  if (may_pass && said.insert(error)) {
    console.note("sharderctl: " + error.message);
  }
  return may_pass;
}

Result<ExitCode> run_status(Context& context) {
  auto cluster = Cluster::connect(context.options);
  if (!cluster) {
    return std::unexpected(std::move(cluster.error()));
  }
  const auto& arguments = context.invocation.arguments;
  const Output output = context.options.output;
  const StatusQuery query{.ring = arguments.empty() ? "" : arguments.front(),
                          .object_namespace = context.options.object_namespace.value_or(""),
                          .pods = output == Output::kWide};
  const bool shards = !query.ring.empty() || output == Output::kWide;
  if (context.options.watch) {
    return watch_status(context, **cluster, query, shards);
  }
  const auto report = read_status(**cluster, context.options, query, [&](const StatusReport& so_far) {
    if (is_table(context)) {
      context.console.print(render_leader(so_far, context.style()));
    }
  });
  if (!report) {
    return std::unexpected(report.error());
  }
  show(context, *report, shards);
  if (is_table(context)) {
    note_troubles(context, *report);
  }
  return exit_code_of(*report);
}

}  // namespace sharder::ctl
