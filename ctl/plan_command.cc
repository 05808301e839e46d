#include "ctl/plan_command.h"

#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/read_file.h"
#include "ctl/cluster.h"
#include "ctl/document.h"
#include "ctl/plan_file.h"

namespace sharder::ctl {

namespace {

// Moves a second that a sharder carries out with its default concurrentMoves on a small API server. It only serves the
// estimate; --rate has a better one.
constexpr double kDefaultRate = 300;

struct Range {
  double least, most;
};
constexpr Range kRates{.least = 0.01, .most = 1'000'000};
constexpr Range kPercent{.least = 0, .most = 100};

constexpr std::size_t kMaxFileBytes = std::size_t{1} << 30U;

Result<double> number_flag(const Invocation& invocation, std::string_view name, std::string_view unit, Range range,
                           double otherwise) {
  const auto text = invocation.value(name);
  if (!text) {
    return otherwise;
  }
  const char* const end = text->data() + text->size();
  double number = 0;
  const auto [rest, error] = std::from_chars(text->data(), end, number);
  const bool whole = error == std::errc() && (rest == end || std::string_view(rest, end) == unit);
  // NaN is in no range.
  if (!whole || std::signbit(number) || !(number >= range.least && number <= range.most)) {
    return fail(ErrorCode::kInvalid, "--" + std::string(name) + ": want a number from " + shortest(range.least) +
                                         " to " + shortest(range.most) + std::string(unit) + ", got \"" + *text + "\"");
  }
  return number;
}

Result<Change> read_change(const Invocation& invocation) {
  Change change{.shards = {},
                .add = invocation.values("add"),
                .remove = invocation.values("remove"),
                .cordon = invocation.values("cordon")};
  if (const auto text = invocation.value("shards")) {
    std::size_t count = 0;
    const char* const end = text->data() + text->size();
    if (const auto [rest, error] = std::from_chars(text->data(), end, count); error != std::errc() || rest != end) {
      return fail(ErrorCode::kInvalid, "--shards: want a number, got \"" + *text + "\"");
    }
    change.shards = count;
  }
  if (!change.shards && change.add.empty() && change.remove.empty() && change.cordon.empty()) {
    return fail(ErrorCode::kInvalid, "plan needs a change: --shards N, --add[=NAME], --remove NAME or --cordon NAME");
  }
  return change;
}

Result<Plan> plan_from_files(const std::vector<std::string>& names, const Options& options, const std::string& ring,
                             const Change& change, bool keep, std::vector<Gap>& gaps) {
  std::vector<std::string> texts;
  for (const std::string& name : names) {
    auto text = read_file(name == "-" ? "/dev/stdin" : name, kMaxFileBytes);
    if (!text) {
      return std::unexpected(std::move(text.error()));
    }
    texts.push_back(*std::move(text));
  }
  auto file = read_plan_file(texts, ring, options.object_namespace.value_or(""), SystemClock().wall());
  if (!file) {
    return std::unexpected(std::move(file.error()));
  }
  gaps = std::move(file->gaps);
  auto after = members_after(file->ring, change);
  if (!after) {
    return std::unexpected(std::move(after.error()));
  }
  Planner planner(file->ring, *std::move(after), keep);
  for (const auto& [resource, object] : file->objects) {
    planner.consider(resource, file->selection, object);
  }
  return planner.plan();
}

Result<Plan> plan_from_cluster(const Options& options, const std::string& name, const Change& change, bool keep,
                               std::vector<Gap>& gaps) {
  const auto cluster = Cluster::connect(options);
  if (!cluster) {
    return std::unexpected(cluster.error());
  }
  const auto ring = read_ring(**cluster, name);
  if (!ring) {
    return std::unexpected(ring.error());
  }
  auto after = members_after(*ring, change);
  if (!after) {
    return std::unexpected(std::move(after.error()));
  }
  const Selection selection = read_selection(**cluster, *ring, read_webhook(**cluster, name, gaps), gaps);
  Planner planner(*ring, *std::move(after), keep);
  for (const RingResource& resource : resolve_resources(**cluster, *ring, gaps)) {
    auto listed = (*cluster)->list_metadata(
        resource.resource, resource.resource.namespaced ? options.object_namespace.value_or("") : "", "",
        [&](const kube::ObjectMeta& object) { planner.consider(resource, selection, object); });
    if (!listed) {
      gaps.push_back({.verb = "list", .resource = name_of(resource.resource), .error = std::move(listed.error())});
    }
  }
  return planner.plan();
}

std::string names_of(const Plan& plan) {
  std::string text;
  for (const PlannedMove& move : plan.list) {
    text +=
        move.resource + "/" + move.name + (move.object_namespace.empty() ? "" : " -n " + move.object_namespace) + "\n";
  }
  return text;
}

}  // namespace

Result<PlanRequest> read_plan_request(const Invocation& invocation) {
  auto change = read_change(invocation);
  if (!change) {
    return std::unexpected(std::move(change.error()));
  }
  const auto rate = number_flag(invocation, "rate", "", kRates, kDefaultRate);
  if (!rate) {
    return std::unexpected(rate.error());
  }
  const auto most = number_flag(invocation, "fail-over", "%", kPercent, kPercent.most);
  if (!most) {
    return std::unexpected(most.error());
  }
  return PlanRequest{.change = *std::move(change), .rate = *rate, .most = *most};
}

Result<ExitCode> run_plan(Context& context) {
  const Invocation& invocation = context.invocation;
  const auto request = read_plan_request(invocation);
  if (!request) {
    return std::unexpected(request.error());
  }
  const bool keep = context.options.structured() || context.options.output == Output::kName;
  std::vector<Gap> gaps;
  const std::string& ring = invocation.arguments.front();
  const auto plan = invocation.has("filename") ? plan_from_files(invocation.values("filename"), context.options, ring,
                                                                 request->change, keep, gaps)
                                               : plan_from_cluster(context.options, ring, request->change, keep, gaps);
  if (!plan) {
    return std::unexpected(plan.error());
  }
  if (context.options.structured()) {
    auto all = to_json(*plan, request->rate);
    all["incomplete"] = to_json(gaps);
    print_document(context, all);
  } else {
    context.console.print(keep ? names_of(*plan) : render_plan(*plan, request->rate, context.style()));
    note_gaps(context.console, gaps);
  }
  ExitCode code = ExitCode::kOk;
  if (plan->moves_more_than(request->most)) {
    context.console.note("more than " + shortest(request->most) + "% of the objects move");
    code = ExitCode::kFindings;
  }
  return worse(code, worst_of(gaps));
}

}  // namespace sharder::ctl
