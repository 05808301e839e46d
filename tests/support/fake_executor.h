#pragma once

#include "base/task_queue.h"
#include "tests/support/fake_clock.h"

namespace sharder::testing {

// An Executor that runs nothing by itself: the test drives it, and time with it. One thread.
class FakeExecutor final : public Executor {
 public:
  explicit FakeExecutor(FakeClock& clock) : clock_(clock) {}

  void post(Task task) override { static_cast<void>(tasks_.push(std::move(task))); }
  TimerId post_after(std::chrono::nanoseconds delay, Task task) override {
    return tasks_.push_at(clock_.steady() + delay, std::move(task)).first;
  }
  void cancel(TimerId timer) override { tasks_.cancel(timer); }

  // Runs what is due now, and what that posts, until nothing is left.
  void run() {
    for (auto next = tasks_.next_due(); next && *next <= clock_.steady(); next = tasks_.next_due()) {
      tasks_.run_due(clock_.steady());
    }
  }
  // Lets time pass, from timer to timer.
  void advance(std::chrono::nanoseconds by) {
    const SteadyTime end = clock_.steady() + by;
    run();
    for (auto next = tasks_.next_due(); next && *next <= end; next = tasks_.next_due()) {
      clock_.advance(*next - clock_.steady());
      run();
    }
    clock_.advance(end - clock_.steady());
  }

 private:
  FakeClock& clock_;
  TaskQueue tasks_;
};

}  // namespace sharder::testing
