#include "rebalancer/pass_counter.h"

#include <algorithm>
#include <utility>

namespace sharder::rebalancer {

PassCounter::PassCounter(std::shared_ptr<Tools> tools, const RingView& view, std::shared_ptr<ResourceMetrics> metrics)
    : tools_(std::move(tools)), view_(view), metrics_(std::move(metrics)) {}

void PassCounter::begins() {
  if (seen_misplaced_) {
    misplaced_.at_least(*seen_misplaced_);  // the pass before did not come to its end
  }
  seen_misplaced_.emplace();
  seen_by_shard_.clear();
}

void PassCounter::shown(const Sighting& seen, bool is_past) {
  if (seen.placement.key.empty()) {
    return;  // the ring does not shard it
  }
  ++seen_by_shard_[seen.is_unassigned ? std::string() : seen.placement.shard];
  if (is_past || !is_misplaced(seen.decision)) {
    return;
  }
  const std::uint64_t object = object_hash(seen.object);
  const SteadyTime now = tools_->clock.steady();
  if (seen_misplaced_) {
    seen_misplaced_->shown(object, misplaced_.since(object, now));
  } else {
    misplaced_.came(object, now);
  }
}

void PassCounter::settled(std::uint64_t object) {
  misplaced_.gone(object);
  if (seen_misplaced_) {
    seen_misplaced_->gone(object);
  }
}

void PassCounter::ended() {
  ended_ = tools_->clock.steady();
  by_shard_ = std::exchange(seen_by_shard_, {});
  misplaced_ = std::exchange(seen_misplaced_, std::nullopt).value_or(Census());
  ByShard of_available;
  for (const auto* shards : {&view_.entry()->ring().shards(), &view_.entry()->cordoned()}) {
    for (const std::string& shard : *shards) {
      const auto found = by_shard_.find(shard);
      of_available[shard] = found == by_shard_.end() ? 0 : found->second;
    }
  }
  metrics_->set_objects(of_available);
  metrics_->set_last_pass(tools_->clock.wall());
}

void PassCounter::look() {
  if (ended_) {
    metrics_->set_misplaced(misplaced());
  }
}

std::optional<ObjectCount> PassCounter::objects() const {
  if (!ended_) {
    return std::nullopt;
  }
  return ObjectCount{.age = tools_->clock.steady() - *ended_, .by_shard = by_shard_};
}

Strays PassCounter::misplaced() const {
  const Census none;
  const Census& seen = seen_misplaced_ ? *seen_misplaced_ : none;
  const SteadyTime now = tools_->clock.steady();
  return {.objects = std::max(misplaced_.count(), seen.count()),
          .oldest = now - std::min({misplaced_.oldest(), seen.oldest(), now})};
}

}  // namespace sharder::rebalancer
