#include "base/backoff.h"

#include <algorithm>

namespace sharder {

Backoff::Backoff(BackoffPolicy policy, std::uint64_t seed)
    : policy_(policy), step_(policy.initial), random_(static_cast<std::minstd_rand::result_type>(seed)) {}

std::chrono::milliseconds Backoff::next() {
  const auto step = std::min<std::chrono::duration<double, std::milli>>(step_, policy_.max);
  step_ = std::min<std::chrono::duration<double, std::milli>>(step_ * policy_.factor, policy_.max);
  return std::chrono::duration_cast<std::chrono::milliseconds>(
      step * std::uniform_real_distribution<double>(0.5, 1.0)(random_));
}

void Backoff::reset() {
  step_ = policy_.initial;
}

}  // namespace sharder
