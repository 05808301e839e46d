#pragma once

#include <chrono>
#include <random>

namespace sharder {

struct BackoffPolicy {
  std::chrono::milliseconds initial{100};
  std::chrono::milliseconds max{2000};  // of every pause, jitter included
  double factor = 2.0;
};

// The pause after `failures` tries in a row that failed (0: the first pause), drawn evenly from [half, whole] of the
// step.
std::chrono::milliseconds backoff_pause(const BackoffPolicy& policy, int failures, std::minstd_rand& random);

// Growing pauses between tries, each drawn evenly from [half, whole] of the step, so that clients that failed together
// do not come back together. Owned by one thread.
class Backoff {
 public:
  explicit Backoff(BackoffPolicy policy = {}, std::uint64_t seed = std::random_device{}());

  // The pause before the next try.
  std::chrono::milliseconds next();
  // After a success: the next pause is short again.
  void reset();

 private:
  BackoffPolicy policy_;
  int failures_ = 0;
  std::minstd_rand random_;
};

}  // namespace sharder
