#include <malloc.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "sharder/config.h"
#include "sharder/flags.h"
#include "sharder/program.h"

namespace {

// Exit codes: 0, ended in order; 1, an unexpected failure; 2, flags, configuration, kubeconfig or certificates are
// wrong.
constexpr int kExitBroken = 1;
constexpr int kExitInvalid = 2;

std::optional<std::string> environment(const char* name) {
  const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): before any thread
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

int invalid(const std::string& message) {
  std::fprintf(stderr, "%s\n", message.c_str());
  return kExitInvalid;
}

// One heap for all threads. Memory that one thread allocates is often freed by another (the loop of the API client
// reads an object, the control loop forgets it). With a heap for each thread this leaves holes: 2 MiB after 40,000
// moves.
void share_heap() {
  mallopt(M_ARENA_MAX, 1);
}

// Blocks SIGTERM and SIGINT in every thread, so that sigwait() gets them. Ignores SIGPIPE, so that write() fails
// instead.
sigset_t block_signals() {
  std::signal(SIGPIPE, SIG_IGN);
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  return signals;
}

// Instead of the library's own handler, which prints what() of every exception.
[[noreturn]] void end_at_once() {
  try {
    if (const auto current = std::current_exception()) {
      std::rethrow_exception(current);
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "sharder: %s\n", sharder::exception_text(error).c_str());
  } catch (...) {
    std::fputs("sharder: unknown exception\n", stderr);
  }
  std::abort();
}

int run(const std::vector<std::string>& arguments) {
  const auto command_line = sharder::app::parse_command_line(arguments);
  if (!command_line) {
    return invalid(command_line.error().message);
  }
  if (command_line->answer) {
    std::fputs(command_line->answer->c_str(), stdout);
    return 0;
  }
  const auto& flags = command_line->flags;
  const auto config = sharder::app::load_config(flags.config_file, environment("LEADER_ELECT"));
  if (!config) {
    return invalid(config.error().message);
  }

  const sigset_t signals = block_signals();
  const auto log = sharder::Logger::to_stderr(flags.log_level, flags.log_format);
  auto program = sharder::app::Program::create(*config, flags.kubeconfig, log);
  if (!program) {
    return invalid(program.error().message);
  }
  if (const auto started = (*program)->start(); !started) {
    return invalid(started.error().message);
  }

  int signal = 0;
  sigwait(&signals, &signal);
  log.info("stopping", {{"signal", signal == SIGTERM ? "SIGTERM" : "SIGINT"}});
  pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);  // a second one ends the process at once
  (*program)->stop();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  share_heap();
  std::set_terminate(end_at_once);
  try {
    return run(std::vector<std::string>(argv + 1, argv + argc));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "sharder: %s\n", sharder::exception_text(error).c_str());
    return kExitBroken;
  }
}
