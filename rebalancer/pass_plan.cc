#include "rebalancer/pass_plan.h"

#include <algorithm>

namespace sharder::rebalancer {

void PassPlan::want(const Scope& scope, SteadyTime due) {
  const auto covering = wanted_.find({.source = scope.source, .object_namespace = ""});
  if (covering != wanted_.end() && covering->second <= due) {
    return;
  }
  if (scope.object_namespace.empty()) {
    std::erase_if(wanted_, [&](const auto& wanted) {
      return wanted.first.source == scope.source && wanted.first != scope && wanted.second >= due;
    });
  }
  const auto [known, added] = wanted_.emplace(scope, due);
  known->second = std::min(known->second, due);
}

std::optional<Scope> PassPlan::begin(SteadyTime now) {
  if (running_) {
    return std::nullopt;
  }
  const auto due = std::ranges::min_element(wanted_, {}, [](const auto& wanted) { return wanted.second; });
  if (due == wanted_.end() || due->second > now) {
    return std::nullopt;
  }
  running_ = due->first;
  wanted_.erase(due);
  return running_;
}

void PassPlan::end() {
  running_.reset();
}

void PassPlan::give_way(SteadyTime due) {
  const Scope scope = *running_;
  running_.reset();
  wanted_.erase(scope);
  want(scope, due);
}

bool PassPlan::other_is_due(SteadyTime now) const {
  return std::ranges::any_of(
      wanted_, [&](const auto& wanted) { return wanted.first.source != running_->source && wanted.second <= now; });
}

std::optional<SteadyTime> PassPlan::next_due() const {
  const auto due = std::ranges::min_element(wanted_, {}, [](const auto& wanted) { return wanted.second; });
  return due == wanted_.end() ? std::nullopt : std::optional(due->second);
}

}  // namespace sharder::rebalancer
