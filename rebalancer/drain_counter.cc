#include "rebalancer/drain_counter.h"

#include <algorithm>
#include <utility>

#include "rebalancer/decision.h"

namespace sharder::rebalancer {

DrainCounter::DrainCounter(std::shared_ptr<Tools> tools, std::string drain_label, std::string shard_label,
                           std::shared_ptr<ResourceMetrics> metrics)
    : tools_(std::move(tools)),
      drain_label_(std::move(drain_label)),
      shard_label_(std::move(shard_label)),
      metrics_(std::move(metrics)) {}

void DrainCounter::begin(const kube::Resource& resource) {
  if (resource_ != resource) {
    resource_ = resource;
    list_.reset();
  }
  given_up_ = false;
  count();
}

void DrainCounter::look(std::uint64_t carried_out) {
  const SteadyTime now = tools_->clock.steady();
  if (oldest_) {
    metrics_->set_draining(counted_, now - *oldest_);
  }
  if (list_ != nullptr) {
    if (now >= asked_ + kTimeout) {
      list_.reset();
      wanted_ = true;
      next_ = now + kLongestPause;
    }
    return;
  }
  const bool wanted = wanted_ || census_.draining() > 0 || carried_out_ != carried_out;
  if (wanted && !given_up_ && now >= next_) {
    carried_out_ = carried_out;
    count();
  }
}

void DrainCounter::sync() {
  given_up_ = false;
  count();
}

void DrainCounter::pass_ended() {
  const std::size_t seen = std::exchange(seen_in_pass_, 0);
  if (given_up_) {
    counted_ = seen;
    metrics_->set_draining(seen, std::chrono::nanoseconds(0));
  } else if (seen > 0) {
    wanted_ = true;  // perhaps somebody else has put drain labels on
  }
}

// Lists as the orphan watch begins: from the API server's cache where it streams lists, else in pages.
void DrainCounter::count() {
  if (!resource_ || list_ != nullptr) {
    return;
  }
  wanted_ = false;
  asked_ = answer_began_ = tools_->clock.steady();
  list_ = std::make_unique<ObjectWatch>(
      tools_, *resource_, drain_label_, false,
      ObjectWatch::Callbacks{.on_events = [this](const std::vector<ObjectEvent>& objects) { came(objects); },
                             .on_connection =
                                 [this](bool, const std::optional<Error>& error) {
                                   if (error) {
                                     failed(*error);
                                   }
                                 },
                             .on_overflow = [] {}});
}

void DrainCounter::came(const std::vector<ObjectEvent>& objects) {
  for (const ObjectEvent& seen : objects) {
    switch (seen.type) {
      case kube::WatchEventType::kInit:
        census_.list_begins();
        listed_flows_.clear();
        answer_began_ = tools_->clock.steady();
        break;
      case kube::WatchEventType::kInitApply:
        census_.shown(object_hash(seen.object), tools_->clock.steady());
        add_flow(seen.object);
        break;
      case kube::WatchEventType::kInitDone:
        counted();
        return;
      case kube::WatchEventType::kApply:
      case kube::WatchEventType::kDelete:
        break;  // the next count shows it
    }
  }
}

void DrainCounter::add_flow(const kube::ObjectMeta& object) {
  const auto text = [&object](const std::string& label) { return std::string(object.label(label).value_or("")); };
  std::pair between{text(shard_label_), text(drain_label_)};
  if (listed_flows_.size() >= kMaxFlows && !listed_flows_.contains(between)) {
    between = {};
  }
  ++listed_flows_[std::move(between)].draining;
}

void DrainCounter::add_to(Flows& flows) const {
  for (const auto& [between, flow] : flows_) {
    flows[between].draining += flow.draining;
  }
}

void DrainCounter::counted() {
  list_.reset();
  flows_ = std::exchange(listed_flows_, {});
  failure_.succeeded(tools_->clock.steady());
  census_.list_ends();
  const SteadyTime now = tools_->clock.steady();
  next_ = now + std::min<SteadyTime::duration>(kPause * (now - answer_began_), kLongestPause);
  counted_ = census_.draining();
  oldest_ = census_.oldest();
  metrics_->set_draining(counted_, now - oldest_.value_or(now));
}

// The list tries again by itself. It is given up when the failure lasts.
void DrainCounter::failed(const Error& error) {
  failure_.failed(error, tools_->clock.steady());
  if (failure_.lasts()) {
    list_.reset();
    census_ = {};
    flows_.clear();
    oldest_.reset();
    given_up_ = true;
  }
}

}  // namespace sharder::rebalancer
