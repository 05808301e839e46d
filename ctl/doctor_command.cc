#include "ctl/doctor_command.h"

#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>
#include <utility>

#include "ctl/doctor.h"
#include "ctl/preflight.h"

namespace sharder::ctl {

namespace {

constexpr std::chrono::seconds kBetweenTries{2};

void show(Context& context, const Diagnosis& diagnosis) {
  if (context.options.structured()) {
    print_document(context, to_json(diagnosis));
  } else if (context.options.output == Output::kName) {
    std::string names;
    for (const Finding& finding : diagnosis.findings) {
      names += std::string(facts_of(finding.check).code) + " " + finding.object + "\n";
    }
    context.console.print(names);
  } else {
    context.console.print(render_findings(diagnosis.findings, context.style()));
  }
}

}  // namespace

Result<ExitCode> run_doctor(Context& context) {
  const Invocation& invocation = context.invocation;
  const auto overdue = duration_flag(invocation, "overdue", std::chrono::minutes(5));
  const auto timeout = duration_flag(invocation, "timeout", std::chrono::minutes(5));
  if (!overdue || !timeout) {
    return std::unexpected(overdue ? timeout.error() : overdue.error());
  }
  if (invocation.enabled("pre") && !invocation.arguments.empty()) {
    return fail(ErrorCode::kInvalid,
                "doctor --pre looks at a cluster without rings: what is \"" + invocation.arguments.front() + "\" for?");
  }
  const auto cluster = Cluster::connect(context.options);
  if (!cluster) {
    return std::unexpected(cluster.error());
  }
  const Severity threshold = invocation.value("failure-threshold") == "error" ? Severity::kError : Severity::kWarning;
  const DoctorQuery query{.ring = invocation.arguments.empty() ? "" : invocation.arguments.front(),
                          .object_namespace = context.options.object_namespace.value_or(""),
                          .overdue = *overdue};
  const bool wait = invocation.enabled("wait");
  const auto deadline = std::chrono::steady_clock::now() + *timeout;
  if (wait) {
    (*cluster)->set_deadline(deadline);
  }
  std::optional<Diagnosis> last;  // that the deadline has not cut
  for (;;) {
    const auto diagnosis = invocation.enabled("pre") ? examine_before_installation(**cluster, context.options)
                                                     : diagnose(**cluster, context.options, query);
    const bool late = std::chrono::steady_clock::now() >= deadline;
    // An API server that is away may come back, and a permission may be granted.
    const ExitCode code = diagnosis ? diagnosis->exit_code(threshold) : exit_code_of(diagnosis.error());
    if (!wait || code == ExitCode::kOk || code == ExitCode::kUsage || late) {
      const bool is_cut = wait && late && code != ExitCode::kOk;
      if (is_cut && last) {
        show(context, *last);
        return ExitCode::kTimeout;
      }
      if (!diagnosis) {
        return std::unexpected(diagnosis.error());
      }
      show(context, *diagnosis);
      return is_cut ? ExitCode::kTimeout : code;
    }
    last = diagnosis ? std::optional(*diagnosis) : std::move(last);
    std::this_thread::sleep_for(kBetweenTries);
  }
}

}  // namespace sharder::ctl
