#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "http/listen_address.h"
#include "http/loop.h"
#include "http/loop_state.h"
#include "http/poller.h"

namespace sharder::http {

// Accepts connections and gives each to the loop that has the fewest, in turn among equals. Lives on the first loop's
// thread.
class Acceptor final : public ReadySink, public std::enable_shared_from_this<Acceptor> {
 public:
  Acceptor(ServerState& server, std::vector<std::unique_ptr<Loop>>& loops, FileDescriptor socket);

  void start() { wait(); }
  // Ends a pause: a connection has closed.
  void resume() { wait(); }
  void on_ready() override;
  void close() { registration_.close(); }

 private:
  void wait();
  bool accept_one();
  bool pause_when_full();
  void hand_out(FileDescriptor socket);
  std::size_t open_connections() const;
  bool has_victims() const;
  void back_off(int error);

  ServerState& server_;
  std::vector<std::unique_ptr<Loop>>& loops_;
  Registration registration_;
  Deadline retry_;
  std::size_t next_ = 0;  // the loop whose turn it is
  bool failing_ = false;  // the last accept failed; logged once
  bool full_ = false;     // the limit has been reached; logged once
};

}  // namespace sharder::http
