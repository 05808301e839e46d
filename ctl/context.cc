#include "ctl/context.h"

#include <array>
#include <nlohmann/json.hpp>

#include "base/go_duration.h"
#include "ctl/document.h"

namespace sharder::ctl {

namespace {

constexpr std::array<Flag, 12> kGlobalFlags{{
    {"kubeconfig", 0, FlagValue::kRequired, "FILE",
     "kubeconfig; else $KUBECONFIG, the pod's ServiceAccount, ~/.kube/config"},
    {"context", 0, FlagValue::kRequired, "NAME", "context of the kubeconfig"},
    {"as", 0, FlagValue::kRequired, "USER", "impersonate this user"},
    {"namespace", 'n', FlagValue::kRequired, "NAME", "namespace of the object, or the only one that is read"},
    {"all-namespaces", 'A', FlagValue::kNone, "", "read all namespaces, the default where a ring is read"},
    {"output", 'o', FlagValue::kRequired, "wide|json|yaml|name", "format of the result"},
    {"no-headers", 0, FlagValue::kNone, "", "leave out the titles of tables"},
    {"no-color", 0, FlagValue::kNone, "", "no colors; also with $NO_COLOR, and where there is no terminal"},
    {"request-timeout", 0, FlagValue::kRequired, "DURATION",
     "for one request, such as 5s or 2m (default 15s; 0: none)"},
    {"watch", 'w', FlagValue::kNone, "", "status and top go on, and show each change"},
    {"sharder-namespace", 0, FlagValue::kRequired, "NAME", "where the sharder runs (default sharding-system)"},
    {"help", 'h', FlagValue::kNone, "", "show the command's flags"},
}};

Output output_of(const std::string& name) {
  return name == "wide"   ? Output::kWide
         : name == "json" ? Output::kJson
         : name == "yaml" ? Output::kYaml
         : name == "name" ? Output::kName
                          : Output::kTable;
}

}  // namespace

std::span<const Flag> global_flags() {
  return kGlobalFlags;
}

Result<std::chrono::milliseconds> duration_flag(const Invocation& invocation, std::string_view name,
                                                std::chrono::milliseconds otherwise) {
  const auto text = invocation.value(name);
  if (!text) {
    return otherwise;
  }
  constexpr std::chrono::hours kLongest{365 * 24};  // no sum with a time of a clock overflows
  const auto duration = parse_go_duration(*text);
  if (!duration || *duration < std::chrono::nanoseconds(0) || *duration > kLongest) {
    return fail(ErrorCode::kInvalid,
                "--" + std::string(name) + ": want a duration such as 5s or 2m, up to a year, got \"" + *text + "\"");
  }
  return std::chrono::ceil<std::chrono::milliseconds>(*duration);
}

Result<Options> read_options(const Invocation& invocation) {
  constexpr std::chrono::seconds kRequestTimeout{15};
  constexpr std::chrono::hours kNoTimeout{24};
  const auto timeout = duration_flag(invocation, "request-timeout", kRequestTimeout);
  if (!timeout) {
    return std::unexpected(timeout.error());
  }
  Options options{.kubeconfig = invocation.value("kubeconfig").value_or(""),
                  .context = invocation.value("context").value_or(""),
                  .as_user = invocation.value("as").value_or(""),
                  .object_namespace = invocation.value("namespace"),
                  .all_namespaces = invocation.enabled("all-namespaces"),
                  .output = output_of(invocation.value("output").value_or("")),
                  .no_headers = invocation.enabled("no-headers"),
                  .no_color = invocation.enabled("no-color"),
                  .watch = invocation.enabled("watch"),
                  .request_timeout = *timeout == std::chrono::milliseconds(0) ? kNoTimeout : *timeout,
                  .sharder_namespace = invocation.value("sharder-namespace").value_or("sharding-system")};
  if (options.object_namespace && options.all_namespaces) {
    return fail(ErrorCode::kInvalid, "--namespace and --all-namespaces exclude each other");
  }
  if (const Command* const command = invocation.command) {
    if (options.watch && !command->goes_on) {
      return fail(ErrorCode::kInvalid, "--watch: " + std::string(command->name) + " does not go on");
    }
    if (options.output == Output::kName && !command->names) {
      return fail(ErrorCode::kInvalid, "--output name: " + std::string(command->name) + " has no names to print");
    }
  }
  return options;
}

void print_document(const Context& context, const nlohmann::ordered_json& value) {
  context.console.print(context.options.output == Output::kYaml ? to_yaml(value) : to_json_text(value));
}

}  // namespace sharder::ctl
