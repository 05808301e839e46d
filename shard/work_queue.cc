#include "shard/work_queue.h"

#include <algorithm>
#include <functional>
#include <string>
#include <utility>

namespace sharder::shard {

std::size_t ObjectNameHash::operator()(const ObjectName& object) const {
  const std::hash<std::string> hash;
  return hash(object.object_namespace) * 31 + hash(object.name);
}

WorkQueue::WorkQueue(std::chrono::nanoseconds backoff_base, std::chrono::nanoseconds backoff_max)
    : backoff_base_(backoff_base), backoff_max_(backoff_max) {}

void WorkQueue::add(const ObjectName& object, SteadyTime now) {
  undelay(object);
  const auto [waiting, is_new] = waiting_.try_emplace(object, Waiting{.since = now, .place = 0});
  if (is_new && !processing_.contains(object)) {
    waiting->second.place = ++last_place_;
    order_.emplace(waiting->second.place, object);
  }
}

void WorkQueue::add_at(const ObjectName& object, SteadyTime due) {
  if (waiting_.contains(object)) {
    return;
  }
  const auto [known, is_new] = due_.try_emplace(object, due);
  if (!is_new) {
    if (known->second <= due) {
      return;
    }
    delayed_.erase({known->second, object});
    known->second = due;
  }
  delayed_.emplace(due, object);
}

std::chrono::nanoseconds WorkQueue::retry(const ObjectName& object, SteadyTime now) {
  constexpr int kMostDoublings = 40;  // 5 ms doubled so often are 170 years
  const int failures = std::min(failures_[object]++, kMostDoublings);
  std::chrono::nanoseconds pause = backoff_base_;
  for (int i = 0; i < failures && pause < backoff_max_; ++i) {
    pause *= 2;
  }
  pause = std::min(pause, backoff_max_);
  add_at(object, now + pause);
  return pause;
}

void WorkQueue::drop(const ObjectName& object) {
  undelay(object);
  if (const auto waiting = waiting_.find(object); waiting != waiting_.end()) {
    order_.erase(waiting->second.place);
    waiting_.erase(waiting);
  }
  failures_.erase(object);
}

std::optional<WorkQueue::Item> WorkQueue::take(SteadyTime now) {
  move_due(now);
  if (order_.empty()) {
    return std::nullopt;
  }
  auto first = order_.extract(order_.begin());
  Item item{.object = std::move(first.mapped())};
  const auto waiting = waiting_.find(item.object);
  item.waited = std::max(now - waiting->second.since, std::chrono::nanoseconds(0));
  waiting_.erase(waiting);
  processing_.insert(item.object);
  return item;
}

void WorkQueue::done(const ObjectName& object, SteadyTime now) {
  processing_.erase(object);
  if (const auto waiting = waiting_.find(object); waiting != waiting_.end() && waiting->second.place == 0) {
    waiting->second = {.since = now, .place = ++last_place_};
    order_.emplace(waiting->second.place, object);
  }
}

std::optional<SteadyTime> WorkQueue::next_due() const {
  if (!order_.empty()) {
    return SteadyTime::min();
  }
  return delayed_.empty() ? std::nullopt : std::optional(delayed_.begin()->first);
}

void WorkQueue::move_due(SteadyTime now) {
  while (!delayed_.empty() && delayed_.begin()->first <= now) {
    const auto [due, object] = *delayed_.begin();
    add(object, due);  // which ends the delay
  }
}

void WorkQueue::undelay(const ObjectName& object) {
  if (const auto known = due_.find(object); known != due_.end()) {
    delayed_.erase({known->second, object});
    due_.erase(known);
  }
}

}  // namespace sharder::shard
