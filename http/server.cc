#include "http/server.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <utility>

#include "http/acceptor.h"
#include "http/listen_address.h"
#include "http/loop.h"
#include "http/loop_state.h"

namespace sharder::http {

struct Server::Impl {
  Impl(ServerOptions options, HandlerFactory factory, Logger log)
      : state(std::move(options), std::move(log)), make_handler(std::move(factory)) {}

  bool is_empty() const {
    for (const auto& loop : loops) {
      if (loop->counters().open.load() > 0) {
        return false;
      }
    }
    return true;
  }

  ServerState state;
  HandlerFactory make_handler;
  std::uint16_t port = 0;
  bool running = false;
  std::vector<std::unique_ptr<Loop>> loops;
  std::shared_ptr<Acceptor> acceptor;  // on the first loop: gone before it
};

Server::Server(ServerOptions options, HandlerFactory make_handler, Logger log)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(make_handler), std::move(log))) {}

Server::~Server() {
  stop(std::chrono::milliseconds(0));
}

Result<void> Server::start() {
  const ServerOptions& options = impl_->state.options;
  auto listener = listen_on(options.address);
  if (!listener) {
    return std::unexpected(std::move(listener.error()));
  }
  std::vector<std::unique_ptr<Loop>> loops;
  for (unsigned i = 0; i < std::max(options.loops, 1U); ++i) {
    loops.push_back(std::make_unique<Loop>(impl_->state, impl_->make_handler(i)));
    if (auto loaded = loops.back()->load_tls(); !loaded) {
      return fail("serve " + options.address, std::move(loaded.error()));
    }
  }
  impl_->loops = std::move(loops);
  impl_->port = listener->port;
  impl_->acceptor = std::make_shared<Acceptor>(impl_->state, impl_->loops, std::move(listener->socket));
  impl_->state.resume_accept = [impl = impl_.get()] {
    impl->loops.front()->post([acceptor = std::weak_ptr(impl->acceptor)] {
      if (const auto alive = acceptor.lock()) {
        alive->resume();
      }
    });
  };
  impl_->loops.front()->post([acceptor = impl_->acceptor] { acceptor->start(); });
  for (std::size_t i = 0; i < impl_->loops.size(); ++i) {
    impl_->loops[i]->start_thread(options.name + "-" + std::to_string(i));
  }
  impl_->running = true;
  impl_->state.log.info("listening", {{"server", options.name}, {"address", options.address}, {"port", impl_->port}});
  return {};
}

std::uint16_t Server::port() const {
  return impl_->port;
}

void Server::begin_drain() {
  impl_->state.draining = true;
}

bool Server::stop(std::optional<std::chrono::milliseconds> grace) {
  if (!std::exchange(impl_->running, false)) {
    return true;
  }
  ServerState& state = impl_->state;
  begin_drain();
  impl_->loops.front()->post([acceptor = impl_->acceptor] { acceptor->close(); });
  for (const auto& loop : impl_->loops) {
    loop->begin_stop();
  }
  {
    std::unique_lock lock(state.mutex);
    const auto is_empty = [this] { return impl_->is_empty(); };
    if (grace) {
      state.changed.wait_for(lock, *grace, is_empty);
    } else {
      state.changed.wait(lock, is_empty);
    }
  }
  std::size_t cut = 0;
  for (const auto& loop : impl_->loops) {
    cut += loop->join();
  }
  impl_->acceptor.reset();
  state.log.info("stopped", {{"server", state.options.name}, {"cut", cut}});
  return cut == 0;
}

ServerStats Server::stats() const {
  ServerStats stats{.accepted = impl_->state.accepted.load()};
  for (const auto& loop : impl_->loops) {
    const LoopCounters& counters = loop->counters();
    stats.connections += counters.open.load();
    stats.requests += counters.requests.load();
    stats.rejected += counters.rejected.load();
    stats.shed += counters.shed.load();
    stats.evicted += counters.evicted.load();
    stats.failed_handshakes += counters.failed_handshakes.load();
  }
  return stats;
}

}  // namespace sharder::http
