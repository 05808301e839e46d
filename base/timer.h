#pragma once

#include <chrono>
#include <utility>

#include "base/executor.h"

namespace sharder {

// A timer of one owner, who can set it again and cancel it; the destructor cancels it too. Use it on the executor's own
// thread only: there a cancelled task certainly does not run any more.
class Timer {
 public:
  // `executor` outlives it.
  explicit Timer(Executor& executor) : executor_(executor) {}
  ~Timer() { cancel(); }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  // Runs `task` once `delay` has passed, in place of what was set before. The task may set the timer again, and may
  // destroy it.
  void set(std::chrono::nanoseconds delay, Executor::Task task) {
    cancel();
    id_ = executor_.post_after(delay, [this, task = std::move(task)]() mutable {
      id_ = 0;
      task();
    });
  }
  void cancel() {
    if (id_ != 0) {
      executor_.cancel(std::exchange(id_, 0));
    }
  }
  bool is_set() const { return id_ != 0; }

 private:
  Executor& executor_;
  Executor::TimerId id_ = 0;
};

}  // namespace sharder
