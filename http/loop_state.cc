#include "http/loop_state.h"

#include <chrono>
#include <ctime>
#include <utility>

namespace sharder::http {

LoopState::LoopState(ServerState& server_state, std::unique_ptr<Handler> its_handler)
    : server(server_state),
      handler(std::move(its_handler)),
      buffers(server.budget),
      inbox(std::make_shared<ReplyInbox>(events)),
      roster_(server.options.limits),
      timer_(events, [this] {
        armed_ = SteadyTime::max();
        on_deadline();
      }) {}

void LoopState::enter(Member& member, Stage stage) {
  roster_.move(member, stage, std::chrono::steady_clock::now());
  arm(roster_.deadline(member));
  publish_victims();
}

void LoopState::add(std::shared_ptr<Member> member, Stage stage) {
  Member& added = *member;
  roster_.add(std::move(member), stage, std::chrono::steady_clock::now());
  arm(roster_.deadline(added));
  publish_victims();
}

std::shared_ptr<Member> LoopState::remove(Member& member) {
  auto owned = roster_.remove(member);
  publish_victims();
  drop_adopted();
  return owned;
}

void LoopState::drop_adopted() {
  counters.open.fetch_sub(1);
  if (server.accept_paused.load() && server.accept_paused.exchange(false)) {
    server.resume_accept();
  }
  if (stopping) {
    notify_stop();
  }
}

void LoopState::notify_stop() {
  {
    const std::lock_guard lock(server.mutex);
  }  // stop() cannot miss this: either it waits now, or it has not checked yet
  server.changed.notify_all();
}

std::string_view LoopState::date_line() {
  return date_.at(std::time(nullptr));
}

void LoopState::log_refusal(std::string_view reason) {
  ++refused_;
  const SteadyTime now = std::chrono::steady_clock::now();
  if (now >= next_refusal_line_) {
    next_refusal_line_ = now + std::chrono::minutes(1);
    server.log.warn("client refused in the TLS handshake",
                    {{"server", server.options.name}, {"reason", reason}, {"refused", std::exchange(refused_, 0)}});
  }
}

void LoopState::clear_out() {
  constexpr std::size_t kKept = std::size_t{256} * 1024;
  if (out.capacity() > kKept) {
    out = {};
  }
  out.clear();
}

// Sets the timer only to an earlier time. A timer that fires too early finds nothing expired and is armed again. So a
// request that is answered at once touches no timer.
void LoopState::arm(SteadyTime due) {
  if (due < armed_) {
    armed_ = due;
    timer_.set(due);
  }
}

void LoopState::publish_victims() {
  counters.fresh_victims.store(roster_.fresh_victims(), std::memory_order_relaxed);
  counters.idle_victims.store(roster_.idle_victims(), std::memory_order_relaxed);
}

}  // namespace sharder::http
