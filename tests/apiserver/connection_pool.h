#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

namespace sharder::apiserver {

// Threads for connections: one each, as many as there are connections, up to a bound; idle ones are used again.
// cpp-httplib keeps a thread as long as the connection lives, so a pool of a fixed size would starve whoever comes
// next.
class ConnectionPool {
 public:
  explicit ConnectionPool(std::size_t most) : most_(most) {}
  ~ConnectionPool() { join(); }
  ConnectionPool(const ConnectionPool&) = delete;
  ConnectionPool& operator=(const ConnectionPool&) = delete;

  void run(std::function<void()> connection);
  // What runs ends its connections (close_all() helps); returns when all threads have ended.
  void join();

  // The socket of the connection that this thread serves, -1 before its TLS handshake.
  static int current_socket();
  void set_current_socket(int socket);
  // Shuts the sockets of all connections down: reads and writes fail from now on.
  void close_all();

 private:
  void work();

  const std::size_t most_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> waiting_;
  std::vector<std::thread> threads_;
  std::set<int> sockets_;
  std::size_t idle_ = 0;
  bool over_ = false;
};

}  // namespace sharder::apiserver
