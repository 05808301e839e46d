#pragma once

#include <chrono>
#include <cstdint>
#include <functional>

namespace sharder {

// Runs tasks one after the other on one thread. post(), post_after() and cancel() may be called from any thread.
// Tests use one whose clock they move (tests/support/fake_executor.h).
class Executor {
 public:
  using Task = std::move_only_function<void()>;
  using TimerId = std::uint64_t;

  virtual ~Executor() = default;

  // Runs the task as soon as those posted before it have run.
  virtual void post(Task task) = 0;
  // Runs the task once `delay` has passed. The id is never 0.
  virtual TimerId post_after(std::chrono::nanoseconds delay, Task task) = 0;
  // Forgets a timer that has not fired. On the executor's own thread: it certainly will not fire any more.
  virtual void cancel(TimerId timer) = 0;
};

}  // namespace sharder
