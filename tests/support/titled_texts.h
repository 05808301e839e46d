#pragma once

#include <sstream>
#include <string>
#include <vector>

#include "tests/support/testdata.h"

namespace sharder::testing {

// "#### title | ours: why" and the text below it, up to the next such line.
struct TitledText {
  std::string title;
  std::string ours;  // "" where nothing is said
  std::string text;
};

inline std::vector<TitledText> titled_texts(const char* name) {
  std::vector<TitledText> result;
  std::istringstream lines(testdata(name));
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("#### ")) {
      const auto bar = line.find(" | ");
      const auto colon = line.find(':', bar == std::string::npos ? line.size() : bar);
      result.push_back({.title = line.substr(5, bar == std::string::npos ? bar : bar - 5),
                        .ours = bar == std::string::npos ? "" : line.substr(bar + 3, colon - bar - 3),
                        .text = {}});
    } else if (!result.empty()) {
      result.back().text += line + "\n";
    }
  }
  return result;
}

}  // namespace sharder::testing
