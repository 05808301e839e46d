#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>
#include <unordered_map>

#include "base/executor.h"
#include "base/log.h"
#include "base/task_queue.h"

namespace sharder::kube {

// Is notified when a file descriptor is ready, on the loop's thread.
class FdHandler {
 public:
  virtual ~FdHandler() = default;
  // `events`: EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP.
  virtual void on_ready(int fd, std::uint32_t events) = 0;
};

// An Executor whose thread waits in epoll: for tasks, timers and file descriptors. A task that throws ends the process
// (see base/task_loop.h). watch() and unwatch() are for the loop's thread only.
class EventLoop final : public Executor {
 public:
  EventLoop(std::string name, Logger log);
  // As stop({}).
  ~EventLoop() override;

  void post(Task task) override;
  TimerId post_after(std::chrono::nanoseconds delay, Task task) override;
  void cancel(TimerId timer) override;

  // Watches `fd` for `events` (EPOLLIN | EPOLLOUT). A second call changes them. The handler outlives the watch.
  void watch(int fd, std::uint32_t events, FdHandler& handler);
  void unwatch(int fd);
  bool on_thread() const;

  // Runs `last` on the loop, then tasks posted meanwhile, drops the timers and ends the thread. Not from the loop.
  void stop(Task last);

 private:
  struct Watch {
    std::uint32_t generation;  // distinguishes this watch's events from those of an earlier fd of the same number
    FdHandler* handler;
  };

  void run();
  void wait();
  void wake();

  const std::string name_;
  Logger log_;
  TaskQueue tasks_;
  int epoll_ = -1;
  int wakeup_ = -1;  // an eventfd
  std::atomic<std::thread::id> thread_id_;
  // The loop thread's:
  std::unordered_map<int, Watch> watches_;
  std::uint32_t last_generation_ = 0;
  bool quit_ = false;
  std::jthread thread_;
};

}  // namespace sharder::kube
