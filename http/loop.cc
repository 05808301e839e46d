#include "http/loop.h"

#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <new>
#include <utility>

#include "base/error.h"
#include "http/connection.h"

namespace sharder::http {

Loop::Loop(ServerState& server, std::unique_ptr<Handler> handler) : state_(server, std::move(handler)) {
  state_.on_deadline = [this] { on_deadline(); };
  if (server.options.tls != nullptr) {
    tls_.emplace(*server.options.tls, server.options.client_ca, server.log);
  }
}

Loop::~Loop() {
  join();
}

Result<void> Loop::load_tls() {
  return tls_ ? tls_->load() : Result<void>();
}

void Loop::start_thread(std::string name) {
  thread_ = std::jthread([this, name = std::move(name)] {
    pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());
    run();
  });
}

void Loop::run() {
  state_.inbox->bind_thread();
  for (bool again = true; std::exchange(again, false);) {
    try {
      state_.events.run();
    } catch (const std::exception& error) {
      state_.server.log.error("event failed",
                              {{"thread", state_.server.options.name}, {"error", exception_text(error)}});
      again = true;
    }
  }
  state_.stopping = true;
  for (const auto& member : state_.roster_.all()) {
    const Stage stage = member->stage();
    cut_ += stage == Stage::kIdle || stage == Stage::kHandshake || stage == Stage::kLingering ? 0 : 1;
    static_cast<Connection&>(*member).close();
  }
  state_.inbox->close();
  state_.events.run_ready();  // tasks that were posted or cancelled release their connections
}

std::size_t Loop::join() {
  if (thread_.joinable()) {
    state_.events.stop();
    thread_.join();
  }
  return cut_;
}

void Loop::adopt(FileDescriptor socket, Admission admission) {
  state_.counters.open.fetch_add(1);
  post([this, socket = std::move(socket), admission]() mutable { open(std::move(socket), admission); });
}

void Loop::open(FileDescriptor socket, Admission admission) {
  if (state_.stopping) {
    return state_.drop_adopted();
  }
  if (admission == Admission::kEvict) {
    if (const auto victim = state_.roster_.victim()) {
      add_one(state_.counters.evicted);
      static_cast<Connection&>(*victim).close();
    } else {
      admission = Admission::kShed;
    }
  }
  try {
    // In this order a connection is never taken for newer than it is.
    const auto* const client_ca = state_.server.options.client_ca;
    const std::uint64_t client_ca_version = client_ca != nullptr ? client_ca->version() : 0;
    const TlsContext* const context = tls_ ? tls_->current() : nullptr;
    if (tls_ && context == nullptr) {
      state_.drop_adopted();  // there is no certificate, or no client CA, yet
      return;
    }
    SslSession session = tls_ ? context->new_session(socket.get()) : nullptr;
    if (tls_ && !session) {
      throw std::bad_alloc();
    }
    std::make_shared<Connection>(state_, std::move(socket), std::move(session), admission == Admission::kShed,
                                 client_ca_version)
        ->start();
  } catch (const std::exception& error) {  // no memory, for us or for epoll
    state_.server.log.error("cannot take a connection", {{"error", exception_text(error)}});
    state_.drop_adopted();
  }
}

void Loop::begin_stop() {
  post([this] {
    state_.stopping = true;
    for (const auto& member : state_.roster_.all()) {
      static_cast<Connection&>(*member).on_stop();
    }
    state_.notify_stop();  // there may have been no connection
  });
}

void Loop::on_deadline() {
  for (const auto& member : state_.roster_.expired(std::chrono::steady_clock::now())) {
    if (member->stage() != Stage::kClosed) {
      static_cast<Connection&>(*member).on_deadline();
    }
  }
  state_.arm(state_.roster_.next_deadline());
}

}  // namespace sharder::http
