#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

namespace sharder::ctl {

// Standard output takes no more, as on a full disk.
class WriteFailed : public std::system_error {
 public:
  explicit WriteFailed(int error) : system_error(error, std::generic_category(), "standard output") {}
};

// Where results go: standard output, notes for a person to standard error. Used by one thread.
class Console {
 public:
  // `no_color`: --no-color. Colors are for terminals, and not with $NO_COLOR or TERM=dumb.
  explicit Console(bool no_color);

  // Writes all of it at once. When the reader has gone (`| head -1`), the process ends as SIGPIPE ends it, silently.
  // Throws WriteFailed.
  void print(std::string_view text);
  // A line on standard error, as printable() makes it.
  void note(std::string_view line);

  bool terminal() const { return terminal_; }  // standard output is one
  bool color() const { return color_; }
  // Characters of a line: of $COLUMNS, else of the terminal; nullopt: as many as are needed. Asked anew each time,
  // because a window changes its size.
  std::optional<std::size_t> width() const;

  // "y" or "yes" from standard input, after this question on standard error. False also when nobody can answer.
  bool confirm(std::string_view question);

 private:
  bool terminal_;
  bool color_;
};

// Before any thread is started: a write whose reader has gone fails, for our sockets too.
void ignore_broken_pipes();

}  // namespace sharder::ctl
