#include "http/reply.h"

namespace sharder::http {
namespace {

// Small enough to live inside a Reply. A move or a call empties it. When it is destroyed before that, it answers 500.
class PendingReply {
 public:
  explicit PendingReply(std::shared_ptr<ReplySlot> slot) : slot_(std::move(slot)) {}
  PendingReply(PendingReply&&) noexcept = default;
  PendingReply& operator=(PendingReply&&) = delete;
  ~PendingReply() {
    if (slot_) {
      (*this)(Response{.status = 500, .body = "no answer\n"});
    }
  }

  void operator()(Response response) {
    if (const auto slot = std::exchange(slot_, nullptr)) {
      slot->inbox->deliver(slot, std::move(response));
    }
  }

 private:
  std::shared_ptr<ReplySlot> slot_;
};

}  // namespace

void ReplyInbox::close() {
  std::vector<std::pair<std::shared_ptr<ReplySlot>, Response>> dropped;
  std::lock_guard lock(mutex_);
  events_ = nullptr;
  dropped.swap(waiting_);
}

void ReplyInbox::deliver(const std::shared_ptr<ReplySlot>& slot, Response response) {
  if (thread_.load(std::memory_order_relaxed) == std::this_thread::get_id()) {
    if (slot->target != nullptr) {
      slot->target->answer(std::move(response));
    }
    return;
  }
  std::lock_guard lock(mutex_);
  if (events_ == nullptr) {
    return;
  }
  waiting_.emplace_back(slot, std::move(response));
  if (waiting_.size() == 1) {
    events_->post([inbox = slot->inbox] { inbox->deliver_waiting(); });
  }
}

void ReplyInbox::deliver_waiting() {
  std::vector<std::pair<std::shared_ptr<ReplySlot>, Response>> answers;
  {
    std::lock_guard lock(mutex_);
    answers.swap(waiting_);
  }
  for (auto& [slot, response] : answers) {
    if (slot->target != nullptr) {
      slot->target->answer(std::move(response));
    }
  }
}

Reply make_reply(std::shared_ptr<ReplySlot> slot) {
  return PendingReply(std::move(slot));
}

}  // namespace sharder::http
