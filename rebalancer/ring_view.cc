#include "rebalancer/ring_view.h"

#include <algorithm>
#include <utility>

namespace sharder::rebalancer {

namespace {

void add(std::vector<Source>& sources, const ring::RingEntry& entry, const ring::GroupResource& name) {
  if (std::ranges::find(sources, name, &Source::name) == sources.end()) {
    sources.push_back({.name = name, .role = entry.role(name.group, name.resource), .resource = std::nullopt});
  }
}

}  // namespace

RingView::RingView(std::shared_ptr<const ring::RingEntry> entry, const Namespaces& namespaces,
                   const ring::LabelSelector& fallback)
    : entry_(std::move(entry)), namespaces_(namespaces), fallback_(fallback) {
  for (const ring::RingResource& resource : entry_->spec().resources) {
    add(sources_, *entry_, resource.main);
  }
  for (const ring::RingResource& resource : entry_->spec().resources) {
    for (const ring::GroupResource& controlled : resource.controlled) {
      add(sources_, *entry_, controlled);
    }
  }
}

const ring::LabelSelector& RingView::selector() const {
  const auto& own = entry_->spec().namespace_selector;
  return own ? *own : fallback_;
}

bool RingView::needs_namespaces() const {
  return selector() != ring::LabelSelector();
}

bool RingView::selects_by_namespace(const Source& source) const {
  return needs_namespaces() && source.resource->namespaced;
}

bool RingView::selects(const Source& source, const kube::ObjectMeta& object) const {
  if (selects_by_namespace(source)) {
    const LabelMap* const labels = namespaces_.find(object.object_namespace);
    return labels != nullptr && selects(*labels);
  }
  return source.name != ring::GroupResource{.group = "", .resource = "namespaces"} || selects(label_map(object));
}

std::vector<std::string> RingView::namespaces_to_list(std::uint32_t source) const {
  if (!selects_by_namespace(sources_[source])) {
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

const Placement& RingView::placement(std::uint32_t source, const kube::ObjectMeta& object) {
  const Source& from = sources_[source];
  if (selects(from, object)) {
    find_placement(placement_, *entry_, from.role, *from.resource, object);
  } else {
    placement_ = {};
  }
  return placement_;
}

}  // namespace sharder::rebalancer
