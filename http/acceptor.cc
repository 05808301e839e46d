#include "http/acceptor.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <system_error>
#include <utility>

namespace sharder::http {
namespace {

constexpr int kAcceptsPerTurn = 32;
// Connections past the limit that are accepted only to be answered with 503.
constexpr std::size_t kShedConnections = 64;
// After a failure for lack of descriptors or memory. The kernel keeps the clients waiting meanwhile.
constexpr std::chrono::milliseconds kRetryPause{100};

}  // namespace

Acceptor::Acceptor(ServerState& server, std::vector<std::unique_ptr<Loop>>& loops, FileDescriptor socket)
    : server_(server),
      loops_(loops),
      registration_(loops.front()->events(), std::move(socket)),
      retry_(loops.front()->events(), [this] { wait(); }) {}

void Acceptor::wait() {
  if (registration_.fd() >= 0) {
    registration_.wait(Registration::Direction::kRead, shared_from_this());
  }
}

void Acceptor::on_ready() {
  for (int i = 0; i < kAcceptsPerTurn; ++i) {
    if (pause_when_full()) {
      return;
    }
    if (!accept_one()) {
      return;
    }
  }
  wait();
}

// False when there is nothing to accept now.
bool Acceptor::accept_one() {
  FileDescriptor socket(::accept4(registration_.fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!socket) {
    switch (errno) {
      case EAGAIN:
#if EAGAIN != EWOULDBLOCK
      case EWOULDBLOCK:
#endif
        wait();
        return false;
      case EMFILE:
      case ENFILE:
      case ENOBUFS:
      case ENOMEM:
        back_off(errno);
        return false;
      default:  // that connection failed before we took it (ECONNABORTED, a pending network error)
        return true;
    }
  }
  failing_ = false;
  server_.accepted.fetch_add(1, std::memory_order_relaxed);
  const int on = 1;
  ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  hand_out(std::move(socket));
  return true;
}

void Acceptor::back_off(int error) {
  if (!std::exchange(failing_, true)) {
    server_.log.warn("cannot accept connections, trying again",
                     {{"server", server_.options.name}, {"error", std::generic_category().message(error)}});
  }
  retry_.set(std::chrono::steady_clock::now() + kRetryPause);
}

bool Acceptor::pause_when_full() {
  const std::size_t limit = server_.options.limits.max_connections + kShedConnections;
  const auto is_full = [&] { return open_connections() >= limit && !has_victims(); };
  if (!is_full()) {
    return false;
  }
  server_.accept_paused.store(true);
  // A connection that closed just before the flag was set has not seen it.
  return is_full() || !server_.accept_paused.exchange(false);
}

void Acceptor::hand_out(FileDescriptor socket) {
  const bool has_room = open_connections() < server_.options.limits.max_connections;
  const std::size_t first = next_++;
  Loop* chosen = nullptr;
  Admission admission = Admission::kFree;
  const auto choose = [&](auto&& better) {
    for (std::size_t i = 0; i < loops_.size(); ++i) {
      Loop& candidate = *loops_[(first + i) % loops_.size()];
      if (better(candidate.counters())) {
        chosen = &candidate;
      }
    }
  };
  if (has_room) {
    choose([&](const LoopCounters& loop) { return chosen == nullptr || loop.open < chosen->counters().open; });
    full_ = false;
  } else {
    admission = Admission::kEvict;
    choose([&](const LoopCounters& loop) { return chosen == nullptr && loop.fresh_victims > 0; });
    if (chosen == nullptr) {
      choose([&](const LoopCounters& loop) { return chosen == nullptr && loop.idle_victims > 0; });
    }
    if (chosen == nullptr) {
      admission = Admission::kShed;
      chosen = loops_[first % loops_.size()].get();
    }
    if (!std::exchange(full_, true)) {
      server_.log.warn("connection limit reached",
                       {{"server", server_.options.name}, {"limit", server_.options.limits.max_connections}});
    }
  }
  chosen->adopt(std::move(socket), admission);
}

std::size_t Acceptor::open_connections() const {
  std::size_t open = 0;
  for (const auto& loop : loops_) {
    open += loop->counters().open.load();
  }
  return open;
}

bool Acceptor::has_victims() const {
  for (const auto& loop : loops_) {
    if (loop->counters().fresh_victims.load() + loop->counters().idle_victims.load() > 0) {
      return true;
    }
  }
  return false;
}

}  // namespace sharder::http
