#include "rebalancer/drain_counter.h"

#include <utility>

#include "rebalancer/decision.h"

namespace sharder::rebalancer {

DrainCounter::DrainCounter(std::shared_ptr<Tools> tools, std::string drain_label, std::string shard_label,
                           std::shared_ptr<ResourceMetrics> metrics, Callbacks callbacks)
    : tools_(std::move(tools)),
      drain_label_(std::move(drain_label)),
      shard_label_(std::move(shard_label)),
      metrics_(std::move(metrics)),
      callbacks_(std::move(callbacks)),
      list_(tools_, kPause,
            {.on_begin = [this] { list_began(); },
             .on_object = [this](const kube::ObjectMeta& object) { shown(object); },
             .on_end = [this] { counted(); },
             .on_given_up = [this] { lists_given_up(); }}) {}

void DrainCounter::begin(const kube::Resource& resource) {
  if (resource_ != resource) {
    resource_ = resource;
    list_.stop();
  }
  list_.try_again();
  count();
}

void DrainCounter::look(std::uint64_t carried_out) {
  if (oldest_) {
    metrics_->set_draining(counted_, tools_->clock.steady() - *oldest_);
  }
  wanted_ = list_.look() || wanted_;
  const bool wanted = wanted_ || census_.count() > 0 || carried_out_ != carried_out;
  if (wanted && list_.is_due()) {
    carried_out_ = carried_out;
    count();
  }
}

void DrainCounter::sync() {
  list_.try_again();
  count();
}

void DrainCounter::pass_ended() {
  const std::size_t seen = std::exchange(seen_in_pass_, 0);
  if (list_.is_given_up()) {
    counted_ = seen;
    metrics_->set_draining(seen, std::chrono::nanoseconds(0));
  } else if (seen > 0) {
    wanted_ = true;  // perhaps somebody else has put drain labels on
  }
}

void DrainCounter::count() {
  if (resource_) {
    wanted_ = false;
    list_.start(*resource_, drain_label_);
  }
}

void DrainCounter::list_began() {
  listed_ = {};
  listed_flows_.clear();
  listed_outdated_ = 0;
}

void DrainCounter::shown(const kube::ObjectMeta& object) {
  const std::uint64_t hash = object_hash(object);
  listed_.shown(hash, census_.since(hash, tools_->clock.steady()));
  const auto text = [&object](const std::string& label) { return std::string(object.label(label).value_or("")); };
  std::pair between{text(shard_label_), text(drain_label_)};
  if (listed_flows_.size() >= kMaxFlows && !listed_flows_.contains(between)) {
    between = {};
  }
  ++listed_flows_[std::move(between)].draining;
  listed_outdated_ += callbacks_.is_outdated(object) ? 1 : 0;
}

void DrainCounter::add_to(Flows& flows) const {
  for (const auto& [between, flow] : flows_) {
    flows[between].draining += flow.draining;
  }
}

void DrainCounter::counted() {
  flows_ = std::exchange(listed_flows_, {});
  census_ = std::exchange(listed_, {});
  counted_ = census_.count();
  oldest_ = counted_ > 0 ? std::optional(census_.oldest()) : std::nullopt;
  const SteadyTime now = tools_->clock.steady();
  metrics_->set_draining(counted_, now - oldest_.value_or(now));
  if (listed_outdated_ < std::exchange(outdated_, listed_outdated_)) {
    callbacks_.on_misled();
  }
}

void DrainCounter::lists_given_up() {
  census_ = {};
  flows_.clear();
  oldest_.reset();
  outdated_ = 0;
}

}  // namespace sharder::rebalancer
