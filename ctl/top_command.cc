#include "ctl/top_command.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>
#include <tuple>

#include "ctl/cluster.h"
#include "ctl/status_command.h"

namespace sharder::ctl {

namespace {

constexpr std::chrono::milliseconds kShortest{500};  // between two counts: each lists all objects

using Counts = std::map<std::string, std::int64_t>;  // of objects, by shard

std::string bar(std::int64_t count, std::int64_t most) {
  constexpr std::int64_t kLongest = 20;
  return std::string(static_cast<std::size_t>(most == 0 ? 0 : (count * kLongest + most - 1) / most), '#');
}

std::string signed_text(std::int64_t number) {
  return number > 0 ? "+" + std::to_string(number) : std::to_string(number);
}

// The shards with the most objects first. `before`: the counts of the last table, none for the first one.
std::string render_top(const RingReport& report, const Counts& before, const Style& style) {
  std::vector<std::pair<std::string, Census::OfShard>> shards(report.census.shards.begin(), report.census.shards.end());
  for (const Shard& shard : report.ring.shards) {
    if (!report.census.shards.contains(shard.lease.id.name)) {
      shards.emplace_back(shard.lease.id.name, Census::OfShard());
    }
  }
  std::ranges::sort(shards, {}, [](const auto& shard) { return std::tuple(-shard.second.objects, shard.first); });
  const std::int64_t most = shards.empty() ? 0 : shards.front().second.objects;
  Table table({{"SHARD"}, {"STATE"}, {"OBJECTS", true}, {"CHANGE", true}, {"DRAINING", true}, {""}});
  for (const auto& [name, census] : shards) {
    const Shard* const shard = report.ring.find_shard(name);
    const auto last = before.find(name);
    const Tone tone = shard != nullptr && shard->available ? Tone::kGood : Tone::kBad;
    table.add({name,
               {shard == nullptr ? "no Lease" : state_text(*shard), tone},
               std::to_string(census.objects),
               before.empty() ? "" : signed_text(census.objects - (last == before.end() ? 0 : last->second)),
               std::to_string(census.draining),
               {most == 0 ? " " : bar(census.objects, most) + " ", tone}});
  }
  return table.render(style);
}

}  // namespace

Result<ExitCode> run_top(Context& context) {
  const auto interval = duration_flag(context.invocation, "interval", std::chrono::seconds(2));
  if (!interval) {
    return std::unexpected(interval.error());
  }
  if (*interval < kShortest) {
    return fail(ErrorCode::kInvalid, "--interval: want at least 500ms");
  }
  const auto cluster = Cluster::connect(context.options);
  if (!cluster) {
    return std::unexpected(cluster.error());
  }
  const StatusQuery query{.ring = context.invocation.arguments.front(),
                          .object_namespace = context.options.object_namespace.value_or(""),
                          .pods = false};
  const bool live = context.options.watch || context.console.terminal();
  Counts before;
  kube::FailureKinds said;
  for (;;) {
    const auto report = read_status(**cluster, context.options, query, {});
    if (!report) {
      if (!live || !passes(context.console, report.error(), said)) {
        return std::unexpected(report.error());
      }
      std::this_thread::sleep_for(*interval);
      continue;
    }
    said.clear();
    const RingReport& ring = report->rings.front();
    if (context.options.structured()) {
      print_document(context, to_json(*report));
    } else {
      context.console.print((context.console.terminal() ? "\033[H\033[2J" : "") +
                            render_status(*report, false, false, context.style()) + "\n" +
                            render_top(ring, before, context.style()));
    }
    note_gaps(context.console, report->gaps);
    if (!live) {
      return exit_code_of(*report);
    }
    before.clear();
    for (const auto& [name, census] : ring.census.shards) {
      before[name] = census.objects;
    }
    std::this_thread::sleep_for(*interval);
  }
}

}  // namespace sharder::ctl
