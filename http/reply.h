#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "http/message.h"
#include "http/poller.h"

namespace sharder::http {

// Receives an answer: a connection, on its loop's thread.
class ReplyTarget {
 public:
  virtual void answer(Response response) = 0;

 protected:
  ~ReplyTarget() = default;
};

class ReplyInbox;

// The link from replies to their connection, which may be gone before they are.
struct ReplySlot {
  std::shared_ptr<ReplyInbox> inbox;
  ReplyTarget* target = nullptr;  // loop's thread only; null once the connection is closed
};

// Brings answers from any thread to the loop that owns their connection. Outlives the loop when replies do.
class ReplyInbox {
 public:
  explicit ReplyInbox(Poller& events) : events_(&events) {}

  // The calling thread runs the loop from now on.
  void bind_thread() { thread_.store(std::this_thread::get_id(), std::memory_order_relaxed); }
  // The loop ends; answers that come later are dropped.
  void close();
  // Any thread. On the loop's own, the answer is given before this returns.
  void deliver(const std::shared_ptr<ReplySlot>& slot, Response response);

 private:
  void deliver_waiting();

  std::atomic<std::thread::id> thread_;
  std::mutex mutex_;
  // Guarded by mutex_:
  Poller* events_;
  std::vector<std::pair<std::shared_ptr<ReplySlot>, Response>> waiting_;
};

// A reply to the request that `slot`'s connection handles now. No allocation.
Reply make_reply(std::shared_ptr<ReplySlot> slot);

}  // namespace sharder::http
