#pragma once

#include <cstdlib>

// What a fuzz target demands of the code: libFuzzer takes the abort for a finding.
inline void require(bool holds) {
  if (!holds) {
    std::abort();
  }
}
