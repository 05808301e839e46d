#include "ctl/explain_command.h"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <span>
#include <utility>

#include "ctl/cluster.h"
#include "ctl/document.h"
#include "ctl/explainer.h"

namespace sharder::ctl {

namespace {

struct Wanted {
  std::string kind, name;
};

// "secret/a configmap/b", or "secret a b".
Result<std::vector<Wanted>> wanted_objects(std::span<const std::string> arguments) {
  std::vector<Wanted> wanted;
  if (arguments.size() > 1 && !arguments.front().contains('/')) {
    for (const std::string& name : arguments.subspan(1)) {
      wanted.push_back({.kind = arguments.front(), .name = name});
    }
  } else {
    for (const std::string& word : arguments) {
      const auto slash = word.find('/');
      wanted.push_back(
          {.kind = word.substr(0, slash), .name = slash == std::string::npos ? "" : word.substr(slash + 1)});
    }
  }
  for (const Wanted& one : wanted) {
    if (one.kind.empty() || one.name.empty() || one.name.contains('/')) {
      return fail(ErrorCode::kInvalid, "want KIND/NAME, such as secret/a, got \"" + one.kind +
                                           (one.name.empty() ? "" : "/" + one.name) + "\"");
    }
  }
  return wanted;
}

}  // namespace

Result<ExitCode> run_explain(Context& context) {
  const auto wanted = wanted_objects(context.invocation.arguments);
  if (!wanted) {
    return std::unexpected(wanted.error());
  }
  const auto connected = Cluster::connect(context.options);
  if (!connected) {
    return std::unexpected(connected.error());
  }
  const auto rings = read_rings(**connected);
  if (!rings) {
    return std::unexpected(rings.error());
  }
  std::vector<Gap> gaps;
  std::vector<Explanation> explanations;
  std::vector<Gap> missing;  // single objects
  Explainer explainer(**connected, context.options, *rings, gaps);
  std::size_t asked = 0;
  for (const Wanted& one : *wanted) {
    ++asked;
    auto explained = explainer.explain(one.kind, one.name, wanted->size() == 1);
    if (explained) {
      std::ranges::move(*explained, std::back_inserter(explanations));
      continue;
    }
    missing.push_back({.verb = "get", .resource = one.kind + "/" + one.name, .error = std::move(explained.error())});
    if (exit_code_of(missing.back().error) == ExitCode::kTimeout) {
      break;  // each further object would take as long
    }
  }
  if (explanations.empty() && wanted->size() == 1) {
    note_gaps(context.console, gaps);
    return std::unexpected(missing.front().error);
  }
  for (const Wanted& one : std::span(*wanted).subspan(asked)) {
    missing.push_back({.verb = "get",
                       .resource = one.kind + "/" + one.name,
                       .error = {.code = ErrorCode::kTimeout,
                                 .message = one.kind + "/" + one.name + " was not asked for after that"}});
  }
  explainer.read_controlled(explanations);
  ExitCode code = worst_of(gaps);
  for (const Gap& one : missing) {
    code = worse(code, exit_code_of(one.error));
  }
  gaps.insert(gaps.end(), missing.begin(), missing.end());
  std::string text;
  nlohmann::ordered_json all = document("Explanations");
  all["items"] = nlohmann::ordered_json::array();
  for (const Explanation& one : explanations) {
    code = worse(code, one.exit_code());
    text += (text.empty() ? "" : "\n") + render(one, context.style());
    all["items"].push_back(to_json(one));
  }
  all["incomplete"] = to_json(gaps);
  if (context.options.structured()) {
    print_document(context, all);
  } else {
    context.console.print(text);
    note_gaps(context.console, gaps);
  }
  return code;
}

}  // namespace sharder::ctl
