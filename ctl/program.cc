#include "ctl/program.h"

#include <span>

#include "ctl/commands.h"
#include "ctl/completion.h"
#include "ctl/context.h"

namespace sharder::ctl {

namespace {

constexpr std::size_t kDefaultWidth = 100;  // of the help, where no terminal has one

int ended(ExitCode code) {
  return static_cast<int>(code);
}

}  // namespace

int run_program(const std::vector<std::string>& arguments) {
  if (!arguments.empty() && arguments.front() == "__complete") {
    Console console(true);
    print_candidates(std::span(arguments).subspan(1), console);
    return ended(ExitCode::kOk);
  }
  const auto invocation = parse_command_line(commands(), global_flags(), arguments);
  Console console(!invocation || invocation->enabled("no-color"));
  if (!invocation) {
    console.note("sharderctl: " + invocation.error().message);
    return ended(ExitCode::kUsage);
  }
  if (invocation->help || invocation->command == nullptr) {
    const std::string text =
        help_text(commands(), global_flags(), invocation->command, console.width().value_or(kDefaultWidth));
    if (!invocation->help) {
      console.note(text);
      return ended(ExitCode::kUsage);
    }
    console.print(text);
    return ended(ExitCode::kOk);
  }
  const auto options = read_options(*invocation);
  if (!options) {
    console.note("sharderctl: " + options.error().message);
    return ended(ExitCode::kUsage);
  }
  Context context{.invocation = *invocation, .options = *options, .console = console};
  const auto code = invocation->command->run(context);
  if (!code) {
    console.note("sharderctl: " + code.error().message);
    return ended(exit_code_of(code.error()));
  }
  return ended(*code);
}

}  // namespace sharder::ctl
