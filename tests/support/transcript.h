#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace sharder::testing {

// A transcript as it ought to be: comments and commands as they stand there, with what they lead to behind "----", up
// to an empty line. `Simulation` has command(line) and take_log().
template <class Simulation>
std::string play(const std::string& transcript) {
  Simulation simulation;
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

// Each transcript in this folder of tests/testdata/ plays as it is written down. With SHARDER_REWRITE=1 in the
// environment the files are written anew; then review the diff.
template <class Simulation>
void check_transcripts(const std::string& folder) {
  namespace fs = std::filesystem;
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(fs::path(SHARDER_TESTDATA) / folder)) {
    if (entry.path().extension() == ".txt") {
      files.push_back(entry.path());
    }
  }
  std::ranges::sort(files);
  REQUIRE(files.size() > 5);
  for (const fs::path& file : files) {
    CAPTURE(file.filename().string());
    std::stringstream expected;
    expected << std::ifstream(file).rdbuf();
    std::string played;
    try {
      played = play<Simulation>(expected.str());
    } catch (const std::exception& error) {
      FAIL_CHECK(error.what());  // a command that cannot be carried out; the next file may be all right
      continue;
    }
    if (std::getenv("SHARDER_REWRITE") != nullptr) {
      std::ofstream(file) << played;
    } else {
      CHECK(played == expected.str());
    }
  }
}

}  // namespace sharder::testing
