#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <utility>

namespace sharder {

// Waits for work that is under way elsewhere, like Go's sync.WaitGroup. Safe from any thread; tickets may outlive the
// group.
class WaitGroup {
 private:
  struct State {
    std::mutex mutex;
    std::condition_variable changed;
    std::size_t tickets = 0;  // guarded by mutex
  };

 public:
  // Work holds a ticket while it is under way.
  class Ticket {
   public:
    Ticket() = default;  // of no group
    Ticket(Ticket&& other) noexcept : state_(std::move(other.state_)) {}
    Ticket& operator=(Ticket&& other) noexcept {
      Ticket gone(std::move(*this));
      state_ = std::move(other.state_);
      return *this;
    }
    ~Ticket() {
      if (state_ != nullptr) {
        const std::lock_guard lock(state_->mutex);
        --state_->tickets;
        state_->changed.notify_all();
      }
    }

   private:
    friend class WaitGroup;
    explicit Ticket(std::shared_ptr<State> state) : state_(std::move(state)) {}

    std::shared_ptr<State> state_;
  };

  Ticket enter() {
    const std::lock_guard lock(state_->mutex);
    ++state_->tickets;
    return Ticket(state_);
  }

  // True when no ticket is left; false when there is still one after `timeout`.
  bool wait_for(std::chrono::nanoseconds timeout) {
    std::unique_lock lock(state_->mutex);
    return state_->changed.wait_for(lock, timeout, [this] { return state_->tickets == 0; });
  }

 private:
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace sharder
