#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <optional>
#include <thread>

#include "base/error.h"
#include "http/file_descriptor.h"
#include "http/loop_state.h"
#include "http/tls_context.h"

namespace sharder::http {

// How the acceptor hands a connection over.
enum class Admission {
  kFree,   // there is room
  kEvict,  // another connection is closed first; when there is none to close, like kShed
  kShed,   // its first request is answered with 503
};

// One thread with its connections, handler and TLS settings.
class Loop {
 public:
  Loop(ServerState& server, std::unique_ptr<Handler> handler);
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // Before the thread starts.
  Result<void> load_tls();
  // `name` names the thread (at most 15 characters).
  void start_thread(std::string name);
  // Ends the thread and cuts the open connections. Returns how many of them had an unfinished request.
  std::size_t join();

  // Any thread:
  void post(Poller::Task task) { state_.events.post(std::move(task)); }
  void adopt(FileDescriptor socket, Admission admission);
  // Closes idle connections and, from now on, each connection after its answer.
  void begin_stop();
  const LoopCounters& counters() const { return state_.counters; }
  Poller& events() { return state_.events; }

 private:
  void run();
  void open(FileDescriptor socket, Admission admission);
  void on_deadline();

  LoopState state_;
  std::optional<TlsContextSource> tls_;
  std::size_t cut_ = 0;
  std::jthread thread_;
};

}  // namespace sharder::http
