#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/log.h"
#include "http/answer.h"
#include "http/input_buffer.h"
#include "http/poller.h"
#include "http/reply.h"
#include "http/roster.h"
#include "http/server_options.h"

namespace sharder::http {

// What all loops of a server share. Outlives them.
struct ServerState {
  ServerState(ServerOptions server_options, Logger logger)
      : options(std::move(server_options)), log(std::move(logger)), budget(options.limits.max_buffered_bytes) {}

  const ServerOptions options;
  const Logger log;
  Budget budget;
  std::atomic<bool> draining = false;
  // The acceptor waits for a connection to close. Whoever turns it back to false calls resume_accept.
  std::atomic<bool> accept_paused = false;
  std::function<void()> resume_accept;  // any thread; set before the threads start
  std::atomic<std::uint64_t> accepted = 0;
  // stop() waits for `changed` until no loop has a connection.
  std::mutex mutex;
  std::condition_variable changed;
};

// One loop's counters, written by its thread (`open` by the acceptor too), read by any.
struct alignas(64) LoopCounters {
  std::atomic<std::size_t> open = 0;  // connections, those on their way from the acceptor included
  std::atomic<std::size_t> fresh_victims = 0;
  std::atomic<std::size_t> idle_victims = 0;
  std::atomic<std::uint64_t> requests = 0;
  std::atomic<std::uint64_t> rejected = 0;
  std::atomic<std::uint64_t> shed = 0;
  std::atomic<std::uint64_t> evicted = 0;
  std::atomic<std::uint64_t> failed_handshakes = 0;
};

// For a counter with one writing thread: no locked instruction.
inline void add_one(std::atomic<std::uint64_t>& counter) {
  counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

// What a loop's connections share: its events, its handler, its reused memory. The loop's thread only.
struct LoopState {
  LoopState(ServerState& server_state, std::unique_ptr<Handler> its_handler);

  // Moves the connection to its next stage; updates deadlines and counters.
  void enter(Member& member, Stage stage);
  void add(std::shared_ptr<Member> member, Stage stage);
  std::shared_ptr<Member> remove(Member& member);
  // For a socket from the acceptor that becomes no connection.
  void drop_adopted();
  // Wakes stop(), which checks whether connections are left.
  void notify_stop();
  std::string_view date_line();
  // Logs that a client was refused in the handshake, once a minute at most: nobody must fill the log.
  void log_refusal(std::string_view reason);
  // Empties `out`, and gives its memory back after a large answer.
  void clear_out();

  ServerState& server;
  Poller events;  // declared before everything that has descriptors in it
  std::unique_ptr<Handler> handler;
  LoopCounters counters;
  BufferPool buffers;
  std::shared_ptr<ReplyInbox> inbox;
  std::string out;  // an answer while it is made and written
  bool stopping = false;
  std::function<void()> on_deadline;

 private:
  friend class Loop;
  void arm(SteadyTime due);
  void publish_victims();

  DateLine date_;
  Roster roster_;
  Deadline timer_;
  SteadyTime armed_ = SteadyTime::max();
  std::uint64_t refused_ = 0;  // since the last line of the log
  SteadyTime next_refusal_line_ = SteadyTime::min();
};

}  // namespace sharder::http
