#include "base/task_loop.h"

#include <pthread.h>

#include <exception>

#include "base/error.h"

namespace sharder {

TaskLoop::TaskLoop(std::string name, Logger log)
    : name_(std::move(name)), log_(std::move(log)), thread_([this](const std::stop_token& stop) { run(stop); }) {}

TaskLoop::~TaskLoop() {
  stop();
}

void TaskLoop::post(Task task) {
  if (tasks_.push(std::move(task))) {
    wake();
  }
}

Executor::TimerId TaskLoop::post_after(std::chrono::nanoseconds delay, Task task) {
  const auto [timer, must_wake] = tasks_.push_at(std::chrono::steady_clock::now() + delay, std::move(task));
  if (must_wake) {
    wake();
  }
  return timer;
}

void TaskLoop::cancel(TimerId timer) {
  tasks_.cancel(timer);
}

void TaskLoop::stop() {
  if (thread_.joinable()) {
    thread_.request_stop();
    thread_.join();
  }
}

void TaskLoop::wake() {
  {
    std::lock_guard lock(mutex_);
    woken_ = true;
  }
  wake_.notify_one();
}

void TaskLoop::run(const std::stop_token& stop) {
  pthread_setname_np(pthread_self(), name_.substr(0, 15).c_str());
  try {
    while (!stop.stop_requested()) {
      tasks_.run_due(std::chrono::steady_clock::now());
      const auto next = tasks_.next_due();
      std::unique_lock lock(mutex_);
      if (next) {
        wake_.wait_until(lock, stop, *next, [this] { return woken_; });
      } else {
        wake_.wait(lock, stop, [this] { return woken_; });
      }
      woken_ = false;
    }
  } catch (const std::exception& error) {
    log_.error("task failed, the process ends", {{"thread", name_}, {"error", exception_text(error)}});
    std::terminate();
  }
}

}  // namespace sharder
