#include "kube/client/event_loop.h"

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <exception>
#include <system_error>
#include <utility>

#include "base/error.h"

namespace sharder::kube {

namespace {

// How many rounds of tasks run after stop(), as tasks may post tasks: a callback that sends once more gets its end.
constexpr int kLastRounds = 100;

std::uint64_t event_key(int fd, std::uint32_t generation) {
  return (std::uint64_t{generation} << 32U) | static_cast<std::uint32_t>(fd);
}

int or_throw(int result, const char* what) {
  if (result < 0) {
    throw std::system_error(errno, std::generic_category(), what);
  }
  return result;
}

}  // namespace

EventLoop::EventLoop(std::string name, Logger log)
    : name_(std::move(name)),
      log_(std::move(log)),
      epoll_(or_throw(epoll_create1(EPOLL_CLOEXEC), "epoll_create1")),
      wakeup_(or_throw(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd")) {
  epoll_event event{.events = EPOLLIN, .data = {.u64 = event_key(wakeup_, 0)}};
  or_throw(epoll_ctl(epoll_, EPOLL_CTL_ADD, wakeup_, &event), "epoll_ctl");
  thread_ = std::jthread([this] { run(); });
}

EventLoop::~EventLoop() {
  stop({});
  close(epoll_);
  close(wakeup_);
}

void EventLoop::post(Task task) {
  if (tasks_.push(std::move(task))) {
    wake();
  }
}

Executor::TimerId EventLoop::post_after(std::chrono::nanoseconds delay, Task task) {
  const auto [timer, must_wake] = tasks_.push_at(std::chrono::steady_clock::now() + delay, std::move(task));
  if (must_wake) {
    wake();
  }
  return timer;
}

void EventLoop::cancel(TimerId timer) {
  tasks_.cancel(timer);
}

bool EventLoop::on_thread() const {
  return thread_id_.load(std::memory_order_relaxed) == std::this_thread::get_id();
}

void EventLoop::wake() {
  if (!on_thread()) {  // the loop itself looks at its tasks before it sleeps
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = write(wakeup_, &one, sizeof one);
  }
}

void EventLoop::watch(int fd, std::uint32_t events, FdHandler& handler) {
  const auto [position, added] = watches_.try_emplace(fd, Watch{});
  if (added) {
    position->second.generation = ++last_generation_;
  }
  position->second.handler = &handler;
  epoll_event event{.events = events, .data = {.u64 = event_key(fd, position->second.generation)}};
  if (epoll_ctl(epoll_, added ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event) != 0) {
    // An fd that was closed and opened again behind our back.
    or_throw(epoll_ctl(epoll_, errno == EEXIST ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
  }
}

void EventLoop::unwatch(int fd) {
  if (watches_.erase(fd) > 0) {
    // libcurl closes a socket that it could not connect before it calls back to unwatch it (lib/cf-socket.c of 7.88).
    // The number may be another thread's descriptor by then; the kernel answers ENOENT and changes nothing.
    // ThreadSanitizer reports a race on that descriptor if it sees the call, so this is not epoll_ctl().
    syscall(SYS_epoll_ctl, epoll_, EPOLL_CTL_DEL, fd, nullptr);
  }
}

void EventLoop::stop(Task last) {
  if (!thread_.joinable()) {
    return;
  }
  post([this, task = std::move(last)]() mutable {
    if (task) {
      task();
    }
    quit_ = true;
  });
  thread_.join();
}

void EventLoop::run() {
  thread_id_.store(std::this_thread::get_id(), std::memory_order_relaxed);
  pthread_setname_np(pthread_self(), name_.substr(0, 15).c_str());
  try {
    while (!quit_) {
      tasks_.run_due(std::chrono::steady_clock::now());
      if (!quit_) {
        wait();
      }
    }
    for (int round = 0; round < kLastRounds && tasks_.next_due() == SteadyTime::min(); ++round) {
      tasks_.run_due(SteadyTime::min());
    }
  } catch (const std::exception& error) {
    log_.error("task failed, the process ends", {{"thread", name_}, {"error", exception_text(error)}});
    std::terminate();
  }
}

void EventLoop::wait() {
  int timeout = -1;
  if (const auto next = tasks_.next_due()) {
    const auto now = std::chrono::steady_clock::now();
    // Rounded up: an early wake-up would only go round once more.
    const auto left =
        *next <= now ? std::chrono::milliseconds(0) : std::chrono::ceil<std::chrono::milliseconds>(*next - now);
    timeout = static_cast<int>(std::min<std::chrono::milliseconds::rep>(left.count(), 60'000));
  }
  std::array<epoll_event, 64> events;
  const int count = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), timeout);
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events[static_cast<std::size_t>(i)];
    const int fd = static_cast<int>(event.data.u64 & 0xffff'ffffU);
    if (fd == wakeup_) {
      std::uint64_t posted = 0;
      [[maybe_unused]] const auto bytes = read(wakeup_, &posted, sizeof posted);
      continue;
    }
    const auto found = watches_.find(fd);
    if (found != watches_.end() && event_key(fd, found->second.generation) == event.data.u64) {
      found->second.handler->on_ready(fd, event.events);
    }
  }
}

}  // namespace sharder::kube
