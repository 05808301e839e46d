#include "base/backoff.h"

#include <algorithm>
#include <cmath>

namespace sharder {

std::chrono::milliseconds backoff_pause(const BackoffPolicy& policy, int failures, std::minstd_rand& random) {
  using Milliseconds = std::chrono::duration<double, std::milli>;
  const auto step =
      std::min<Milliseconds>(Milliseconds(policy.initial) * std::pow(policy.factor, failures), policy.max);
  return std::chrono::duration_cast<std::chrono::milliseconds>(
      step * std::uniform_real_distribution<double>(0.5, 1.0)(random));
}

Backoff::Backoff(BackoffPolicy policy, std::uint64_t seed)
    : policy_(policy), random_(static_cast<std::minstd_rand::result_type>(seed)) {}

std::chrono::milliseconds Backoff::next() {
  const auto pause = backoff_pause(policy_, failures_, random_);
  failures_ = std::min(failures_ + 1, 1000);  // far beyond every limit
  return pause;
}

void Backoff::reset() {
  failures_ = 0;
}

}  // namespace sharder
