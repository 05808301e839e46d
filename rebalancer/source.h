#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "base/backoff.h"
#include "base/error.h"
#include "kube/client/resource.h"
#include "kube/client/retries.h"
#include "kube/codec/object_meta.h"
#include "rebalancer/metrics.h"
#include "rebalancer/resource_patches.h"
#include "ring/controller_ring.h"
#include "ring/ring_set.h"

namespace sharder::rebalancer {

// One resource of a ring, as Passes and Mover see it: all that they keep of it, and what they notify its worker
// (ResourceWorker) of. On the control loop.
class Source {
 public:
  // Its place among the ring's resources; MoveQueue and PassPlan know it by this.
  std::uint32_t index() const { return index_; }
  const ring::GroupResource& name() const { return name_; }
  ring::Role role() const { return role_; }
  // As discovery knows it; nothing is sent before that.
  const kube::Resource& resource() const { return *resource_; }
  const std::shared_ptr<ResourceMetrics>& metrics() const { return metrics_; }
  ResourcePatches& patches() { return patches_; }
  // So many of its moves were carried out so far.
  std::uint64_t carried_out() const { return patches_.carried_out(); }
  // Of the passes over it.
  kube::Retries& pass_retries() { return pass_retries_; }

  // Of Passes: a pass over the whole resource begins, and has ended.
  virtual void pass_begins() = 0;
  virtual void pass_ended() = 0;
  // Whether there is room for the moves that a page may bring.
  virtual bool has_room() const = 0;
  // An object of a page. False: there was no room for it.
  virtual bool consider(const kube::ObjectMeta& object) = 0;
  virtual void page_ended() = 0;
  // Passes have a lasting failure; nullopt: one has ended well.
  virtual void lists_trouble(const std::optional<Error>& error) = 0;

  // Of Mover: the object with this object_hash(), which was no orphan, needs no move any more: one was carried out, or
  // somebody else saw to it.
  virtual void settled(std::uint64_t object) = 0;
  // The result of has_room() may have changed.
  virtual void room_changed() = 0;

 protected:
  Source(std::uint32_t index, ring::GroupResource name, ring::Role role, std::shared_ptr<ResourceMetrics> metrics,
         ResourcePatches patches)
      : index_(index),
        name_(std::move(name)),
        role_(role),
        metrics_(std::move(metrics)),
        patches_(std::move(patches)) {}
  ~Source() = default;

  std::optional<kube::Resource> resource_;

 private:
  // Between passes over a resource that cannot be listed, until it is a lasting failure.
  static constexpr BackoffPolicy kPassPauses{.initial = std::chrono::milliseconds(500), .max = std::chrono::seconds(2)};

  const std::uint32_t index_;
  const ring::GroupResource name_;
  const ring::Role role_;
  const std::shared_ptr<ResourceMetrics> metrics_;
  ResourcePatches patches_;
  kube::Retries pass_retries_{{.transient = kPassPauses}};
};

}  // namespace sharder::rebalancer
