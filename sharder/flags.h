#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/log.h"

namespace sharder::app {

// The command line (protocol, 7 and 10): a plain value.
struct Flags {
  std::string config_file;  // --config; "": all defaults
  std::string kubeconfig;   // --kubeconfig; "": the places of controller-runtime
  LogLevel log_level = LogLevel::kInfo;
  LogFormat log_format = LogFormat::kJson;
};

struct CommandLine {
  Flags flags;
  // --help and --version: print this, which ends with a newline, and exit with 0.
  std::optional<std::string> answer;
};

// Reads the arguments, without the program's name, as Go's flag packages do, so that the command lines of the Go
// program still work: one dash or two, "--flag value" or "--flag=value", "--flag" and "--flag=false" for booleans,
// the last one counts. The --zap-... flags mean what they mean there:
//   --zap-devel               --log-level=debug --log-format=console, unless another flag sets them
//   --zap-log-level           --log-level; debug, info, error, panic, or a verbosity > 0, which is debug
//   --zap-encoder             --log-format
//   --zap-stacktrace-level, --zap-time-encoding   checked, without effect
// A flag beside its alias is an error. kInvalid: one line that names the flag and what is wrong.
[[nodiscard]] Result<CommandLine> parse_command_line(const std::vector<std::string>& arguments);

}  // namespace sharder::app
