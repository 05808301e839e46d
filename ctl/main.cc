#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "base/error.h"
#include "ctl/console.h"
#include "ctl/program.h"

namespace {

constexpr int kExitBroken = 70;  // a bug: EX_SOFTWARE of sysexits.h

}  // namespace

int main(int argc, char** argv) {
  sharder::ctl::hold_closed_streams();
  sharder::ctl::ignore_broken_pipes();
  try {
    return sharder::ctl::run_program(std::vector<std::string>(argv + 1, argv + argc));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "sharderctl: %s\n", sharder::exception_text(error).c_str());
    return kExitBroken;
  }
}
