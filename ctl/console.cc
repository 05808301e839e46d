#include "ctl/console.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <iostream>

#include "ctl/text.h"

namespace sharder::ctl {

namespace {

std::string_view variable(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? std::string_view() : value;
}

// False with errno.
bool write_all(int descriptor, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(descriptor, text.data(), text.size());
    if (written >= 0) {
      text.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno == EPIPE) {
      std::signal(SIGPIPE, SIG_DFL);
      std::raise(SIGPIPE);
    } else if (errno != EINTR && errno != EAGAIN) {
      return false;
    }
  }
  return true;
}

}  // namespace

Console::Console(bool no_color)
    : terminal_(isatty(STDOUT_FILENO) == 1),
      color_(terminal_ && !no_color && variable("NO_COLOR").empty() && variable("TERM") != "dumb") {}

void Console::print(std::string_view text) {
  if (!write_all(STDOUT_FILENO, text)) {
    throw WriteFailed(errno);
  }
}

void Console::note(std::string_view line) {
  write_all(STDERR_FILENO, printable(line) + "\n");
}

std::optional<std::size_t> Console::width() const {
  const std::string_view columns = variable("COLUMNS");
  std::size_t width = 0;
  if (std::from_chars(columns.data(), columns.data() + columns.size(), width).ec == std::errc() && width > 0) {
    return width;
  }
  winsize size{};
  if (terminal_ && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    return size.ws_col;
  }
  return std::nullopt;
}

bool Console::confirm(std::string_view question) {
  write_all(STDERR_FILENO, printable(question) + " [y/N] ");
  std::string answer;
  if (!std::getline(std::cin, answer)) {
    note("");
    return false;
  }
  return answer == "y" || answer == "yes";
}

void ignore_broken_pipes() {
  std::signal(SIGPIPE, SIG_IGN);
}

}  // namespace sharder::ctl
