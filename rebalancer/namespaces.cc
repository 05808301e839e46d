#include "rebalancer/namespaces.h"

#include <chrono>
#include <utility>
#include <vector>

namespace sharder::rebalancer {

namespace {

// This watch notices the end of an outage for all, so its pauses are shorter than those of other watches that fail.
constexpr std::chrono::seconds kLongestPause{5};
// After a shorter outage no pauses of others are long.
constexpr std::chrono::seconds kLongAway{10};

}  // namespace

LabelMap label_map(const kube::ObjectMeta& object) {
  return {object.labels.begin(), object.labels.end()};
}

Namespaces::Namespaces(const std::shared_ptr<Tools>& tools, Callbacks callbacks)
    : callbacks_(std::move(callbacks)), tools_(tools) {
  watch_.emplace(
      tools, kube::kNamespaces, "", false,
      ObjectWatch::Callbacks{
          .on_events =
              [this](const std::vector<ObjectEvent>& objects) {
                for (const ObjectEvent& object : objects) {
                  seen(object);
                }
              },
          .on_connection = [this](bool watching, const std::optional<Error>& error) { connection(watching, error); },
          .on_overflow = [] {}},
      kLongestPause);
}

const LabelMap* Namespaces::find(std::string_view name) const {
  const auto found = labels_.find(name);
  return found == labels_.end() ? nullptr : &found->second;
}

void Namespaces::connection(bool watching, const std::optional<Error>& error) {
  const SteadyTime now = tools_->clock.steady();
  if (watching) {
    failure_.succeeded(now);
    callbacks_.on_trouble(std::nullopt);
    const auto since = std::exchange(failing_since_, std::nullopt);
    if (since && now - *since >= kLongAway) {
      callbacks_.on_return();
    }
  } else if (error) {
    failing_since_ = failing_since_.value_or(now);
    if (failure_.failed(*error, now)) {
      callbacks_.on_trouble(error);
    }
  }
}

void Namespaces::seen(const ObjectEvent& seen) {
  switch (seen.type) {
    case kube::WatchEventType::kInit:
      unseen_.emplace();
      for (const auto& [name, labels] : labels_) {
        unseen_->insert(name);
      }
      break;
    case kube::WatchEventType::kInitApply:
    case kube::WatchEventType::kApply:
      put(seen.object);
      break;
    case kube::WatchEventType::kInitDone:
      for (const std::string& name : unseen_.value_or(std::set<std::string>())) {
        labels_.erase(name);
      }
      unseen_.reset();
      if (!std::exchange(synced_, true)) {
        callbacks_.on_synced();
      }
      break;
    case kube::WatchEventType::kDelete:
      labels_.erase(seen.object.name);
      break;
  }
}

void Namespaces::put(const kube::ObjectMeta& object) {
  if (unseen_) {
    unseen_->erase(object.name);
  }
  LabelMap labels = label_map(object);
  const auto [known, is_new] = labels_.try_emplace(object.name);
  const LabelMap before = std::exchange(known->second, std::move(labels));
  if (synced_ && (is_new || before != known->second)) {
    callbacks_.on_change(object.name, is_new ? nullptr : &before, known->second);
  }
}

}  // namespace sharder::rebalancer
