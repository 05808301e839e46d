#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <list>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

namespace sharder::testing {

// A TCP server on 127.0.0.1 whose connections the test handles as it likes, each on a thread of its own: for servers
// that stay silent, cut connections, or are proxies.
class Loopback {
 public:
  // `handler` gets the connection's descriptor and its number, counted from 0; it is closed after the handler returned.
  using Handler = std::function<void(int fd, int number)>;

  explicit Loopback(Handler handler, std::uint16_t wanted_port = 0) : handler_(std::move(handler)) {
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int on = 1;
    setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(wanted_port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    if (bind(listener_, reinterpret_cast<sockaddr*>(&address), length) != 0 || listen(listener_, 128) != 0) {
      throw std::runtime_error("cannot listen on loopback");
    }
    getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length);
    port_ = ntohs(address.sin_port);
    acceptor_ = std::jthread([this] { accept_all(); });
  }
  ~Loopback() {
    shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    close(listener_);
    cut();
    threads_.clear();  // joins
  }
  Loopback(const Loopback&) = delete;
  Loopback& operator=(const Loopback&) = delete;

  std::uint16_t port() const { return port_; }
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  int connections() const { return accepted_; }

  // Ends every connection that is open.
  void cut() {
    std::lock_guard lock(mutex_);
    for (const int fd : open_) {
      shutdown(fd, SHUT_RDWR);
    }
  }

 private:
  void accept_all() {
    for (;;) {
      const int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) {
        return;
      }
      const int number = accepted_++;
      std::lock_guard lock(mutex_);
      open_.push_back(fd);
      threads_.emplace_back([this, fd, number] {
        handler_(fd, number);
        std::lock_guard inner(mutex_);
        open_.remove(fd);
        close(fd);
      });
    }
  }

  Handler handler_;
  int listener_ = -1;
  std::uint16_t port_ = 0;
  std::atomic<int> accepted_ = 0;
  std::mutex mutex_;
  std::list<int> open_;  // guarded by mutex_
  std::list<std::jthread> threads_;
  std::jthread acceptor_;
};

// Reads up to the end of an HTTP header, or the end of the connection.
inline std::string read_header(int fd) {
  std::string text;
  char c = 0;
  while (!text.ends_with("\r\n\r\n") && read(fd, &c, 1) == 1) {
    text.push_back(c);
  }
  return text;
}

inline void write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t size = send(fd, text.data(), text.size(), MSG_NOSIGNAL);
    if (size <= 0) {
      return;
    }
    text.remove_prefix(static_cast<std::size_t>(size));
  }
}

// Stays connected without a word until the other side or Loopback::cut() ends it.
inline void stay_silent(int fd) {
  std::array<char, 4096> buffer;
  while (read(fd, buffer.data(), buffer.size()) > 0) {
  }
}

// Carries bytes both ways until one side ends.
inline void relay(int a, int b) {
  std::array<char, 16'384> buffer;
  std::array<pollfd, 2> ends{pollfd{.fd = a, .events = POLLIN, .revents = 0},
                             pollfd{.fd = b, .events = POLLIN, .revents = 0}};
  while (poll(ends.data(), ends.size(), -1) > 0) {
    for (std::size_t i = 0; i < 2; ++i) {
      if (ends[i].revents != 0) {
        const ssize_t size = read(ends[i].fd, buffer.data(), buffer.size());
        if (size <= 0) {
          return;
        }
        write_all(ends[1 - i].fd, {buffer.data(), static_cast<std::size_t>(size)});
      }
    }
  }
}

inline int connect_loopback(std::uint16_t port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    close(fd);
    return -1;
  }
  return fd;
}

// A port on which nobody listens.
inline std::uint16_t closed_port() {
  const Loopback gone([](int, int) {});
  return gone.port();
}

}  // namespace sharder::testing
