#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kube/client/object_reference.h"
#include "kube/client/resource.h"
#include "kube/codec/object_meta.h"
#include "rebalancer/decision.h"
#include "rebalancer/namespaces.h"
#include "rebalancer/source.h"
#include "ring/ring_set.h"

namespace sharder::rebalancer {

// An object as a page or a watch shows it, with what that means by the newest ring.
struct Sighting {
  const kube::ObjectMeta& object;
  const Placement& placement;  // an empty one when the ring does not select the object
  Decision decision;
  bool is_unassigned;
};

// All that a ring's decisions depend on: its RingEntry, its resources, and which namespaces it selects. Owned by the
// ring's worker, on the control loop.
class RingView {
 public:
  // `namespaces` and `fallback` outlive this; `fallback`: the selector of a ring without one of its own.
  RingView(std::shared_ptr<const ring::RingEntry> entry, const Namespaces& namespaces,
           const ring::LabelSelector& fallback);

  // Another RingEntry of the same spec.
  void set_entry(std::shared_ptr<const ring::RingEntry> entry) { entry_ = std::move(entry); }
  const std::shared_ptr<const ring::RingEntry>& entry() const { return entry_; }
  // The ring, for Events.
  kube::ObjectReference reference() const {
    return kube::reference_to(kube::kControllerRings, entry_->spec().name, entry_->spec().uid);
  }

  // Its resources, by their index. They are added in this order, and outlive all that asks for them.
  void add(Source& source) { sources_.push_back(&source); }
  const std::vector<Source*>& sources() const { return sources_; }
  Source& source(std::uint32_t index) const { return *sources_[index]; }

  // Whether selecting needs the labels of namespaces.
  bool needs_namespaces() const;
  bool selects(const LabelMap& namespace_labels) const { return selector().matches(namespace_labels); }
  // Whether the ring selects an object of the source: by the labels of its namespace; a Namespace by its own labels;
  // other cluster-scoped objects always. The API server does the same for webhooks.
  bool selects(const Source& source, const kube::ObjectMeta& object) const;

  // Which namespaces a pass over all objects of the source has to list. "" stands for the whole cluster in one list:
  // that is cheaper than a list for each of many namespaces, but not if the ring selects few of them.
  std::vector<std::string> namespaces_to_list(const Source& source) const;

  // The placement of an object of the source; an empty one when it is not selected. Valid until the next call.
  const Placement& placement(const Source& source, const kube::ObjectMeta& object);
  // Valid until the next call of this or of placement().
  Sighting look_at(const Source& source, const kube::ObjectMeta& object);
  Decision decide(const Source& source, const Placement& placement) const {
    return rebalancer::decide(*entry_, source.role(), placement);
  }

 private:
  // So many namespaces are few.
  static constexpr std::size_t kFewNamespaces = 10;

  const ring::LabelSelector& selector() const;
  // Whether objects of the source are selected by the labels of the namespace that they are in.
  bool selects_by_namespace(const Source& source) const;

  std::shared_ptr<const ring::RingEntry> entry_;
  const Namespaces& namespaces_;
  const ring::LabelSelector& fallback_;
  std::vector<Source*> sources_;
  Placement placement_;  // reused
};

}  // namespace sharder::rebalancer
