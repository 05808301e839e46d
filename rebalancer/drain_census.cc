#include "rebalancer/drain_census.h"

#include <algorithm>
#include <utility>

namespace sharder::rebalancer {

void DrainCensus::list_begins() {
  if (before_.empty()) {
    before_ = std::exchange(since_, {});
  }
  since_.clear();
  by_age_.clear();
  count_ = 0;
}

void DrainCensus::list_ends() {
  before_.clear();
  if (count_ == since_.size()) {
    rest_since_ = SteadyTime::max();
  }
}

void DrainCensus::shown(std::uint64_t object, SteadyTime now) {
  if (since_.contains(object)) {
    return;  // it changed while it was listed
  }
  ++count_;
  const auto known = before_.find(object);
  const SteadyTime since = known == before_.end() ? std::min(now, rest_since_) : known->second;
  if (since_.size() == kKept) {
    const auto youngest = std::prev(by_age_.end());
    if (since >= youngest->first) {
      rest_since_ = std::min(rest_since_, since);
      return;
    }
    rest_since_ = std::min(rest_since_, youngest->first);
    since_.erase(youngest->second);
    by_age_.erase(youngest);
  }
  if (since_.emplace(object, since).second) {
    by_age_.emplace(since, object);
  }
}

std::optional<SteadyTime> DrainCensus::oldest() const {
  if (count_ == 0) {
    return std::nullopt;
  }
  return by_age_.empty() ? rest_since_ : std::min(by_age_.begin()->first, rest_since_);
}

}  // namespace sharder::rebalancer
