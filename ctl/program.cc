#include "ctl/program.h"

#include <span>

#include "ctl/commands.h"
#include "ctl/completion.h"
#include "ctl/context.h"
#include "ctl/text.h"

namespace sharder::ctl {

namespace {

constexpr std::size_t kDefaultWidth = 100;  // of the help, where no terminal has one

ExitCode refuse(Console& console, const Error& error, ExitCode code = ExitCode::kUsage) {
  console.note("sharderctl: " + error.message);
  return code;
}

ExitCode show_help(Console& console, const Invocation& invocation) {
  const std::string text =
      help_text(commands(), global_flags(), invocation.command, console.width().value_or(kDefaultWidth));
  if (invocation.help) {
    console.print(text);
    return ExitCode::kOk;
  }
  for (const std::string_view line : split(text, '\n')) {
    console.note(line);
  }
  return ExitCode::kUsage;
}

ExitCode run(const std::vector<std::string>& arguments) {
  if (!arguments.empty() && arguments.front() == "__complete") {
    Console console(true);
    print_candidates(std::span(arguments).subspan(1), console);
    return ExitCode::kOk;
  }
  const auto invocation = parse_command_line(commands(), global_flags(), arguments);
  Console console(!invocation || invocation->enabled("no-color"));
  if (!invocation) {
    return refuse(console, invocation.error());
  }
  if (invocation->help || invocation->command == nullptr) {
    return show_help(console, *invocation);
  }
  const auto options = read_options(*invocation);
  if (!options) {
    return refuse(console, options.error());
  }
  Context context{.invocation = *invocation, .options = *options, .console = console};
  const auto code = invocation->command->run(context);
  return code ? *code : refuse(console, code.error(), exit_code_of(code.error()));
}

}  // namespace

int run_program(const std::vector<std::string>& arguments) {
  ExitCode code = ExitCode::kUsage;
  try {
    code = run(arguments);
  } catch (const WriteFailed& error) {
    Console(true).note("sharderctl: " + std::string(error.what()));
  }
  return static_cast<int>(code);
}

}  // namespace sharder::ctl
