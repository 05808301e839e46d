#pragma once

#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <utility>

#include "base/clock.h"
#include "base/executor.h"

namespace sharder {

// The tasks and timers of one loop. Any thread adds; the loop's thread alone calls run_due().
class TaskQueue {
 public:
  TaskQueue() = default;
  // Objects that tasks hold may cancel timers when they are destroyed.
  ~TaskQueue();
  TaskQueue(const TaskQueue&) = delete;
  TaskQueue& operator=(const TaskQueue&) = delete;

  // Adds a task. True when the loop must be woken, because it may be asleep until a later time.
  [[nodiscard]] bool push(Executor::Task task);
  // Adds a timer; the second value as for push().
  [[nodiscard]] std::pair<Executor::TimerId, bool> push_at(SteadyTime due, Executor::Task task);
  void cancel(Executor::TimerId timer);

  // Runs what was posted and what is due at `now`, each outside the lock; tasks added meanwhile wait for the next call.
  // An exception of a task goes to the caller, the other tasks stay queued.
  void run_due(SteadyTime now);
  // When run_due() has something to do next: SteadyTime::min() for at once, nullopt for never.
  std::optional<SteadyTime> next_due() const;

 private:
  mutable std::mutex mutex_;
  // Guarded by mutex_:
  std::deque<Executor::Task> ready_;
  std::map<std::pair<SteadyTime, Executor::TimerId>, Executor::Task> timers_;
  std::map<Executor::TimerId, SteadyTime> due_;  // finds a timer in timers_
  Executor::TimerId last_timer_ = 0;
};

}  // namespace sharder
