#pragma once

#include <functional>
#include <memory>

#include "base/clock.h"
#include "http/file_descriptor.h"

// The edge to Asio: one thread's readiness events, timers and tasks. No other file of this folder uses its io_context.
namespace sharder::http {

class Poller {
 public:
  using Task = std::move_only_function<void()>;

  Poller();
  ~Poller();
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;

  // Runs tasks and events until stop(). Their exceptions go to the caller, which may call run() again to go on.
  void run();
  // Runs what is ready and returns; for tests and fuzzing, in place of run().
  void run_ready();
  // Any thread.
  void stop();
  // Any thread: runs `task` on the loop's thread, never inside post().
  void post(Task task);

  struct Impl;
  Impl& impl() { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

// Waits for a descriptor to be ready.
class ReadySink {
 public:
  virtual ~ReadySink() = default;
  virtual void on_ready() = 0;
};

// A descriptor in a Poller. All on the loop's thread; the loop outlives it.
class Registration {
 public:
  enum class Direction { kRead, kWrite };

  Registration(Poller& loop, FileDescriptor fd);
  ~Registration();
  Registration(const Registration&) = delete;
  Registration& operator=(const Registration&) = delete;

  int fd() const;  // -1 after close()
  // Calls sink->on_ready() once: when the descriptor can be read or written (perhaps already now), or has failed. Holds
  // `sink`, which owns this Registration, until then. Replaces the wait before it.
  void wait(Direction direction, std::shared_ptr<ReadySink> sink);
  // Forgets the wait and closes the descriptor.
  void close();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// One timer of a Poller, on the loop's thread.
class Deadline {
 public:
  Deadline(Poller& loop, std::function<void()> on_due);
  ~Deadline();
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;

  // Replaces the time that was set before.
  void set(SteadyTime due);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sharder::http
