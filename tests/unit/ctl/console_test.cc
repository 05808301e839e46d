#include "ctl/console.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <string>

#include "ctl/program.h"

using namespace sharder::ctl;

namespace {

// Something else in the place of a descriptor, for a while.
class Redirected {
 public:
  Redirected(int descriptor, int target) : descriptor_(descriptor), before_(dup(descriptor)) {
    std::fflush(nullptr);
    dup2(target, descriptor);
    close(target);
  }
  ~Redirected() {
    dup2(before_, descriptor_);
    close(before_);
  }
  Redirected(const Redirected&) = delete;
  Redirected& operator=(const Redirected&) = delete;

 private:
  int descriptor_;
  int before_;
};

template <class Action>
std::string on_standard_error(const Action& action) {
  std::array<int, 2> ends{};
  REQUIRE(pipe(ends.data()) == 0);
  {
    const Redirected redirected(STDERR_FILENO, ends[1]);
    action();
  }
  std::array<char, 1000> text{};
  const ssize_t size = read(ends[0], text.data(), text.size());
  close(ends[0]);
  return {text.data(), static_cast<std::size_t>(size)};
}

}  // namespace

TEST_CASE("a note is one line, whatever it has") {
  CHECK(on_standard_error([] { Console(true).note("a\nb\x1b[2J"); }) == "a b^[[2J\n");
}

TEST_CASE("a result that cannot be written is said, and ends the program with 2") {
  int code = 0;
  const std::string said = on_standard_error([&code] {
    const Redirected redirected(STDOUT_FILENO, open("/dev/full", O_WRONLY | O_CLOEXEC));
    code = run_program({"version", "--client"});
  });
  CHECK(code == 2);
  CHECK(said == "sharderctl: standard output: No space left on device\n");
}
