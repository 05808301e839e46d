#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "ctl/exit_code.h"

// The command line as a table: the parser, the help, the completions and docs/sharderctl.md's list of flags are made
// from it.
namespace sharder::ctl {

struct Context;

enum class FlagValue {
  kNone,      // --watch, --watch=false
  kRequired,  // --namespace NAME, --namespace=NAME
  kOptional,  // --add, --add=NAME
};

struct Flag {
  std::string_view name;  // without dashes
  char letter = 0;        // 0: it has none
  FlagValue takes = FlagValue::kNone;
  std::string_view value = {};  // how the help calls the value: "NAME"; "a|b|c" are the only ones that there are
  std::string_view help = {};
};

struct Command {
  std::string_view name;       // "status", "labels remove"
  std::string_view arguments;  // as the help shows them: "[RING]"
  std::size_t least = 0, most = 0;
  std::string_view summary;
  std::vector<Flag> flags;                      // besides the global ones
  bool names = false;                           // has -o name
  bool goes_on = false;                         // has --watch
  Result<ExitCode> (*run)(Context&) = nullptr;  // an error is printed, and ends the program as exit_code_of() says
};

// What a person has asked for: a plain value.
struct Invocation {
  const Command* command = nullptr;  // null: only --help or nothing
  bool help = false;
  std::vector<std::string> arguments;
  std::multimap<std::string, std::string, std::less<>> flags;  // name → value; "true" and "false" for kNone

  bool has(std::string_view name) const { return flags.contains(name); }
  // Of the last one, as with kubectl.
  std::optional<std::string> value(std::string_view name) const;
  bool enabled(std::string_view name) const { return value(name) == "true"; }
  std::vector<std::string> values(std::string_view name) const;
};

// Reads arguments as kubectl does (Go's pflag): flags anywhere before "--", "-n NAME", "-nNAME", "-n=NAME",
// "--namespace NAME", "--namespace=NAME", several letters in one word ("-Aw"). Flags of two commands with the same name
// take the same kind of value. kInvalid: one line for a person, which names what exists that is like a wrong word.
Result<Invocation> parse_command_line(std::span<const Command> commands, std::span<const Flag> global_flags,
                                      std::span<const std::string> arguments);

// All commands, or one of them with its flags. Lines are as long as `width` allows.
std::string help_text(std::span<const Command> commands, std::span<const Flag> global_flags, const Command* command,
                      std::size_t width);

}  // namespace sharder::ctl
