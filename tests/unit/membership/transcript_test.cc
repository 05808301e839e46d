#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "tests/unit/membership/simulation.h"

// Transcripts: commands in, what happens out (tests/testdata/membership/README.md). With SHARDER_REWRITE=1 in the
// environment the files are written anew; then review the diff.

using namespace sharder;

namespace {

namespace fs = std::filesystem;

std::string read_file(const fs::path& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// The transcript as it ought to be: comments and commands as they stand there, with what they lead to behind "----".
std::string play(const std::string& transcript) {
  testing::Simulation simulation;
  std::istringstream in(transcript);
  std::ostringstream out;
  bool in_output = false;
  for (std::string line; std::getline(in, line);) {
    if (in_output) {
      in_output = !line.empty();
      if (line.empty()) {
        out << "\n";
      }
      continue;
    }
    out << line << "\n";
    if (line == "----") {
      out << simulation.take_log();
      in_output = true;
    } else if (!line.empty() && line.front() != '#') {
      simulation.command(line);
    }
  }
  return out.str();
}

}  // namespace

TEST_CASE("each transcript of membership plays as it is written down (protocol, 3 and 9)") {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(fs::path(SHARDER_TESTDATA) / "membership")) {
    if (entry.path().extension() == ".txt") {
      files.push_back(entry.path());
    }
  }
  std::ranges::sort(files);
  REQUIRE(files.size() > 5);
  for (const fs::path& file : files) {
    CAPTURE(file.filename().string());
    const std::string expected = read_file(file);
    const std::string played = play(expected);
    if (std::getenv("SHARDER_REWRITE") != nullptr) {
      std::ofstream(file) << played;
    } else {
      CHECK(played == expected);
    }
  }
}
