#include "rebalancer/namespaces.h"

#include <utility>
#include <vector>

namespace sharder::rebalancer {

LabelMap label_map(const kube::ObjectMeta& object) {
  return {object.labels.begin(), object.labels.end()};
}

Namespaces::Namespaces(const std::shared_ptr<Tools>& tools, Callbacks callbacks)
    : callbacks_(std::move(callbacks)), tools_(tools) {
  watch_.emplace(
      tools, kube::kNamespaces, "", false,
      ObjectWatch::Callbacks{
          .on_objects =
              [this](const std::vector<SeenObject>& objects) {
                for (const SeenObject& object : objects) {
                  seen(object);
                }
              },
          .on_connection = [this](bool watching, const std::optional<Error>& error) { connection(watching, error); },
          .on_overflow = [] {}});
}

const LabelMap* Namespaces::find(std::string_view name) const {
  const auto found = labels_.find(name);
  return found == labels_.end() ? nullptr : &found->second;
}

void Namespaces::connection(bool watching, const std::optional<Error>& error) {
  if (watching) {
    refusal_.granted();
    callbacks_.on_trouble(std::nullopt);
  } else if (error && error->code == ErrorCode::kForbidden && refusal_.refused(tools_->clock.steady())) {
    callbacks_.on_trouble(error);
  }
}

void Namespaces::seen(const SeenObject& seen) {
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
