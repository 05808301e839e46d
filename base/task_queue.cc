#include "base/task_queue.h"

namespace sharder {

TaskQueue::~TaskQueue() {
  while (!ready_.empty() || !timers_.empty()) {
    due_.clear();
    const auto ready = std::exchange(ready_, {});
    const auto timers = std::exchange(timers_, {});
  }
}

bool TaskQueue::push(Executor::Task task) {
  std::lock_guard lock(mutex_);
  ready_.push_back(std::move(task));
  return ready_.size() == 1;
}

std::pair<Executor::TimerId, bool> TaskQueue::push_at(SteadyTime due, Executor::Task task) {
  std::lock_guard lock(mutex_);
  const Executor::TimerId id = ++last_timer_;
  const auto position = timers_.emplace(std::pair(due, id), std::move(task)).first;
  due_.emplace(id, due);
  return {id, position == timers_.begin() && ready_.empty()};
}

void TaskQueue::cancel(Executor::TimerId timer) {
  Executor::Task forgotten;  // its captures are destroyed outside the lock
  std::lock_guard lock(mutex_);
  if (const auto found = due_.find(timer); found != due_.end()) {
    const auto position = timers_.find({found->second, timer});
    forgotten = std::move(position->second);
    timers_.erase(position);
    due_.erase(found);
  }
}

void TaskQueue::run_due(SteadyTime now) {
  std::size_t posted = 0;
  {
    std::lock_guard lock(mutex_);
    posted = ready_.size();
  }
  for (; posted > 0; --posted) {
    Executor::Task task;
    {
      std::lock_guard lock(mutex_);
      task = std::move(ready_.front());
      ready_.pop_front();
    }
    task();
  }
  for (;;) {
    Executor::Task task;
    {
      // One at a time, so that a task can cancel a timer that is due as well.
      std::lock_guard lock(mutex_);
      if (timers_.empty() || timers_.begin()->first.first > now) {
        return;
      }
      const auto first = timers_.begin();
      task = std::move(first->second);
      due_.erase(first->first.second);
      timers_.erase(first);
    }
    task();
  }
}

std::optional<SteadyTime> TaskQueue::next_due() const {
  std::lock_guard lock(mutex_);
  if (!ready_.empty()) {
    return SteadyTime::min();
  }
  if (!timers_.empty()) {
    return timers_.begin()->first.first;
  }
  return std::nullopt;
}

}  // namespace sharder
