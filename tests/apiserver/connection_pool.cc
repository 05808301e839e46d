#include "tests/apiserver/connection_pool.h"

#include <sys/socket.h>

#include <utility>

namespace sharder::apiserver {

namespace {
thread_local int this_socket = -1;
}

int ConnectionPool::current_socket() {
  return this_socket;
}

void ConnectionPool::set_current_socket(int socket) {
  const std::lock_guard lock(mutex_);
  this_socket = socket;
  sockets_.insert(socket);
  if (over_) {
    ::shutdown(socket, SHUT_RDWR);
  }
}

void ConnectionPool::run(std::function<void()> connection) {
  const std::lock_guard lock(mutex_);
  waiting_.push_back(std::move(connection));
  if (waiting_.size() > idle_ && threads_.size() < most_) {
    threads_.emplace_back([this] { work(); });
  }
  changed_.notify_one();
}

void ConnectionPool::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    ++idle_;
    changed_.wait(lock, [&] { return over_ || !waiting_.empty(); });
    --idle_;
    if (waiting_.empty()) {
      return;
    }
    const auto connection = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    connection();
    lock.lock();
    sockets_.erase(std::exchange(this_socket, -1));
  }
}

void ConnectionPool::close_all() {
  const std::lock_guard lock(mutex_);
  over_ = true;
  for (const int socket : sockets_) {
    ::shutdown(socket, SHUT_RDWR);
  }
  changed_.notify_all();
}

void ConnectionPool::join() {
  close_all();
  for (std::thread& thread : threads_) {
    if (thread.joinable()) {
      thread.join();
    }
  }
}

}  // namespace sharder::apiserver
