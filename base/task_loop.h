#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>

#include "base/executor.h"
#include "base/log.h"
#include "base/task_queue.h"

namespace sharder {

// An Executor with a thread of its own. The destructor stops it: the task that runs is finished, the others are
// dropped. A task that throws is a bug: it is logged and the process ends (std::terminate), because a loop that lost a
// step of its state machine must not go on deciding.
class TaskLoop final : public Executor {
 public:
  // `name` names the thread (at most 15 characters).
  TaskLoop(std::string name, Logger log);
  ~TaskLoop() override;

  void post(Task task) override;
  TimerId post_after(std::chrono::nanoseconds delay, Task task) override;
  void cancel(TimerId timer) override;

  // Ends the thread and waits for it. Tasks posted later are never run. Not from the loop's own thread.
  void stop();

 private:
  void run(const std::stop_token& stop);
  void wake();

  const std::string name_;
  Logger log_;
  TaskQueue tasks_;
  std::mutex mutex_;
  std::condition_variable_any wake_;
  bool woken_ = false;  // guarded by mutex_
  std::jthread thread_;
};

}  // namespace sharder
