#pragma once

#include <chrono>
#include <cstddef>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "rebalancer/decision.h"
#include "rebalancer/flight.h"

namespace sharder::rebalancer {

// The results of a ring's moves since its queue was last empty, for one line of the log. Owned by the Mover.
class MoveSummary {
 public:
  MoveSummary() = default;
  explicit MoveSummary(SteadyTime since) : since_(since) {}

  void count(MoveKind kind) {
    reassigned_ += kind == MoveKind::kReassign ? 1 : 0;
    drains_ += kind == MoveKind::kDrain ? 1 : 0;
  }
  void failed(const Error& error) { failures_ += is_failure(error) ? 1 : 0; }

  // The queue is empty: logs the results, if there are any, and begins anew.
  void log_to(const Logger& log, SteadyTime now) {
    if (reassigned_ + drains_ + failures_ > 0) {
      const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(now - since_);
      log.info("objects moved",
               {{"reassigned", reassigned_}, {"drains", drains_}, {"failures", failures_}, {"ms", took.count()}});
    }
    *this = MoveSummary(now);
  }

 private:
  SteadyTime since_ = {};
  std::size_t reassigned_ = 0;
  std::size_t drains_ = 0;
  std::size_t failures_ = 0;
};

}  // namespace sharder::rebalancer
