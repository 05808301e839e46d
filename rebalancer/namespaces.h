#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "kube/client/lasting_failure.h"
#include "kube/codec/object_meta.h"
#include "rebalancer/object_watch.h"
#include "rebalancer/tools.h"

namespace sharder::rebalancer {

using LabelMap = std::map<std::string, std::string>;

LabelMap label_map(const kube::ObjectMeta& object);

// The labels of all namespaces, as a watch shows them; rings select objects by them. Belongs to the control loop.
class Namespaces {
 public:
  struct Callbacks {
    std::function<void()> on_synced;  // once
    // After synced: a namespace came (`before` is null) or has other labels. Not when one goes.
    std::function<void(const std::string& name, const LabelMap* before, const LabelMap& labels)> on_change;
    // The watch has a lasting failure; nullopt: it works.
    std::function<void(const std::optional<Error>&)> on_trouble;
    // It works again after it has failed for a while.
    std::function<void()> on_return;
  };

  // Begins to watch.
  Namespaces(const std::shared_ptr<Tools>& tools, Callbacks callbacks);

  bool synced() const { return synced_; }
  const std::map<std::string, LabelMap, std::less<>>& all() const { return labels_; }
  // Null: there is no such namespace, or it has not been shown yet.
  const LabelMap* find(std::string_view name) const;

 private:
  void seen(const ObjectEvent& seen);
  void connection(bool watching, const std::optional<Error>& error);
  void put(const kube::ObjectMeta& object);

  const Callbacks callbacks_;
  std::map<std::string, LabelMap, std::less<>> labels_;
  std::optional<std::set<std::string>> unseen_;  // during a list: what it has not shown yet
  bool synced_ = false;
  std::optional<SteadyTime> failing_since_;
  kube::LastingFailure failure_;
  const std::shared_ptr<Tools> tools_;
  std::optional<ObjectWatch> watch_;
};

}  // namespace sharder::rebalancer
