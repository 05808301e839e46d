#include "rebalancer/counting_list.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "kube/client/failure_class.h"

namespace sharder::rebalancer {

CountingList::CountingList(std::shared_ptr<Tools> tools, int pause, Callbacks callbacks)
    : tools_(std::move(tools)), pause_(pause), callbacks_(std::move(callbacks)) {}

void CountingList::start(const kube::Resource& resource, const std::string& selector) {
  if (list_ != nullptr) {
    return;
  }
  asked_ = answer_began_ = tools_->clock.steady();
  list_ = std::make_unique<ObjectWatch>(
      tools_, resource, selector, false,
      ObjectWatch::Callbacks{.on_events = [this](const std::vector<ObjectEvent>& objects) { came(objects); },
                             .on_connection =
                                 [this](bool, const std::optional<Error>& error) {
                                   if (error) {
                                     failed(*error);
                                   }
                                 },
                             .on_overflow = [] {}});
}

bool CountingList::look() {
  const SteadyTime now = tools_->clock.steady();
  if (list_ == nullptr || now < asked_ + kTimeout) {
    return false;
  }
  list_.reset();
  next_ = now + kLongestPause;
  return true;
}

bool CountingList::is_due() const {
  return list_ == nullptr && !given_up_ && tools_->clock.steady() >= next_;
}

void CountingList::came(const std::vector<ObjectEvent>& objects) {
  for (const ObjectEvent& seen : objects) {
    switch (seen.type) {
      case kube::WatchEventType::kInit:
        answer_began_ = tools_->clock.steady();
        callbacks_.on_begin();
        break;
      case kube::WatchEventType::kInitApply:
        callbacks_.on_object(seen.object);
        break;
      case kube::WatchEventType::kInitDone:
        ended();
        return;
      case kube::WatchEventType::kApply:
      case kube::WatchEventType::kDelete:
        break;  // the next list shows it
    }
  }
}

void CountingList::ended() {
  const SteadyTime now = tools_->clock.steady();
  list_.reset();
  failure_.succeeded(now);
  next_ = now + std::min<SteadyTime::duration>(pause_ * (now - answer_began_), kLongestPause);
  callbacks_.on_end();
}

// The list tries again by itself. It is given up when the failure lasts.
void CountingList::failed(const Error& error) {
  if (kube::is_outage(error)) {
    asked_ = tools_->clock.steady();  // the list does not take long, nobody answers
  }
  failure_.failed(error, tools_->clock.steady());
  if (failure_.lasts()) {
    list_.reset();
    given_up_ = true;
    callbacks_.on_given_up();
  }
}

}  // namespace sharder::rebalancer
