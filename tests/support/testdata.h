#pragma once

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace sharder::testing {

// The bytes of a file of tests/testdata; the README beside it tells where they are from.
inline std::string testdata(const char* name) {
  std::ifstream file(std::filesystem::path(SHARDER_TESTDATA) / name, std::ios::binary);
  REQUIRE(file);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace sharder::testing
