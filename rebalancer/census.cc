#include "rebalancer/census.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace sharder::rebalancer {

SteadyTime Census::since(std::uint64_t object, SteadyTime now) const {
  const auto known = kept_.find(object);
  return known == kept_.end() ? std::min(now, rest_since_) : known->second.since;
}

void Census::shown(std::uint64_t object, SteadyTime since, std::string name) {
  if (kept_.contains(object)) {
    return;  // it changed while it was listed
  }
  ++count_;
  keep(object, since, std::move(name));
}

void Census::keep(std::uint64_t object, SteadyTime since, std::string name) {
  if (kept_.size() == kKept) {
    const auto [youngest_since, youngest] = *by_age_.rbegin();
    rest_since_ = std::min(rest_since_, std::max(since, youngest_since));
    if (since >= youngest_since) {
      return;
    }
    drop(kept_.find(youngest));
  }
  by_age_.emplace(since, object);
  kept_.emplace(object, Kept{.since = since, .name = std::move(name)});
}

void Census::drop(std::unordered_map<std::uint64_t, Kept>::iterator kept) {
  by_age_.erase({kept->second.since, kept->first});
  kept_.erase(kept);
}

void Census::came(std::uint64_t object, SteadyTime now, std::string name) {
  if (kept_.contains(object)) {
    return;
  }
  if (count_ > kept_.size()) {
    is_vague_ = true;
  } else {
    shown(object, now, std::move(name));
  }
}

void Census::gone(std::uint64_t object) {
  const auto known = kept_.find(object);
  if (known != kept_.end()) {
    drop(known);
    --count_;
  } else if (count_ > kept_.size()) {
    --count_;
  }
  if (count_ == kept_.size()) {
    rest_since_ = SteadyTime::max();
  }
}

void Census::at_least(const Census& list) {
  for (const auto& [object, kept] : list.kept_) {
    if (!kept_.contains(object)) {
      keep(object, kept.since, kept.name);
    }
  }
  rest_since_ = std::min(rest_since_, list.rest_since_);
  count_ = std::max({count_, kept_.size(), list.count_});
}

SteadyTime Census::oldest() const {
  return by_age_.empty() ? rest_since_ : std::min(by_age_.begin()->first, rest_since_);
}

std::string Census::example() const {
  return by_age_.empty() ? std::string() : kept_.at(by_age_.begin()->second).name;
}

}  // namespace sharder::rebalancer
