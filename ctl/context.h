#pragma once

#include <chrono>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"
#include "ctl/command_line.h"
#include "ctl/console.h"
#include "ctl/table.h"

namespace sharder::ctl {

enum class Output { kTable, kWide, kJson, kYaml, kName };

// The flags of every command: a plain value.
struct Options {
  std::string kubeconfig;
  std::string context;
  std::string as_user;
  std::optional<std::string> object_namespace;  // -n
  bool all_namespaces = false;
  Output output = Output::kTable;
  bool no_headers = false;
  bool no_color = false;
  bool watch = false;
  std::chrono::milliseconds request_timeout{};
  std::string sharder_namespace;  // where the sharder's Lease and ServiceAccount are

  bool structured() const { return output == Output::kJson || output == Output::kYaml; }
};

// The global flags, for the parser and the help.
std::span<const Flag> global_flags();
// kInvalid: a duration that is none, -n with -A, what the command does not have.
Result<Options> read_options(const Invocation& invocation);

// What a command works with.
struct Context {
  const Invocation& invocation;
  const Options& options;
  Console& console;

  Style style() const { return {.width = console.width(), .headers = !options.no_headers, .color = console.color()}; }
};

// Prints a document as -o json or -o yaml asks for it.
void print_document(const Context& context, const nlohmann::ordered_json& value);

// A duration flag of a command; `otherwise` without it. kInvalid: it is none.
Result<std::chrono::milliseconds> duration_flag(const Invocation& invocation, std::string_view name,
                                                std::chrono::milliseconds otherwise);

}  // namespace sharder::ctl
