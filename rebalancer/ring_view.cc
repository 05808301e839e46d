#include "rebalancer/ring_view.h"

#include <utility>

namespace sharder::rebalancer {

RingView::RingView(std::shared_ptr<const ring::RingEntry> entry, const Namespaces& namespaces,
                   const ring::LabelSelector& fallback)
    : entry_(std::move(entry)), namespaces_(namespaces), fallback_(fallback) {}

const ring::LabelSelector& RingView::selector() const {
  const auto& own = entry_->spec().namespace_selector;
  return own ? *own : fallback_;
}

bool RingView::needs_namespaces() const {
  return selector() != ring::LabelSelector();
}

bool RingView::selects_by_namespace(const Source& source) const {
  return needs_namespaces() && source.resource().namespaced;
}

bool RingView::selects(const Source& source, const kube::ObjectMeta& object) const {
  if (selects_by_namespace(source)) {
    const LabelMap* const labels = namespaces_.find(object.object_namespace);
    return labels != nullptr && selects(*labels);
  }
  return source.name() != ring::GroupResource{.group = "", .resource = "namespaces"} || selects(label_map(object));
}

std::vector<std::string> RingView::namespaces_to_list(const Source& source) const {
  if (!selects_by_namespace(source)) {
    return {""};
  }
  std::vector<std::string> selected;
  for (const auto& [name, labels] : namespaces_.all()) {
    if (!selects(labels)) {
      continue;
    }
    if (selected.size() == kFewNamespaces) {
      return {""};
    }
    selected.push_back(name);
  }
  return selected;
}

const Placement& RingView::placement(const Source& source, const kube::ObjectMeta& object) {
  if (selects(source, object)) {
    find_placement(placement_, *entry_, source.role(), source.resource(), object);
  } else {
    placement_ = {};
  }
  return placement_;
}

Sighting RingView::look_at(const Source& source, const kube::ObjectMeta& object) {
  const Placement& found = placement(source, object);
  return {.object = object,
          .placement = found,
          .decision = decide(source, found),
          .is_unassigned = rebalancer::is_unassigned(*entry_, found)};
}

}  // namespace sharder::rebalancer
