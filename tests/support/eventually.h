#pragma once

#include <chrono>
#include <thread>

namespace sharder::testing {

// Waits until the condition holds. False when it still does not at the deadline, which is far beyond what any machine
// needs: it only ends a test that would hang.
template <class Condition>
[[nodiscard]] bool eventually(Condition condition, std::chrono::seconds deadline = std::chrono::seconds(60)) {
  const auto end = std::chrono::steady_clock::now() + deadline;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) {
      return false;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

}  // namespace sharder::testing
