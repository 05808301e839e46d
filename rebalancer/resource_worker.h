#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/backoff.h"
#include "base/error.h"
#include "base/lifetime.h"
#include "base/timer.h"
#include "kube/client/resource.h"
#include "kube/codec/object_meta.h"
#include "rebalancer/drain_counter.h"
#include "rebalancer/mover.h"
#include "rebalancer/namespaces.h"
#include "rebalancer/orphan_watch.h"
#include "rebalancer/pass_counter.h"
#include "rebalancer/passes.h"
#include "rebalancer/report.h"
#include "rebalancer/ring_view.h"
#include "rebalancer/source.h"
#include "rebalancer/tools.h"
#include "rebalancer/troubles.h"
#include "rebalancer/unassigned_counter.h"

namespace sharder::rebalancer {

// Works for one resource of a ring: looks it up in discovery, watches its orphans, counts where its objects are and
// what drains, and reports the lasting failures of its lists, watches and patches. RingParts is what it shares with the
// ring's other resources.
//
// Owned by the ring's worker, on the control loop.
class ResourceWorker final : public Source {
 public:
  // The ring's worker owns them; they outlive this.
  struct RingParts {
    const Namespaces& namespaces;
    RingView& view;
    Mover& mover;
    Passes& passes;
    Troubles& troubles;
  };

  ResourceWorker(std::shared_ptr<Tools> tools, RingParts ring, std::uint32_t index, const ring::GroupResource& name);
  ~ResourceWorker();
  ResourceWorker(const ResourceWorker&) = delete;
  ResourceWorker& operator=(const ResourceWorker&) = delete;

  // Looks the resource up, and begins as soon as it is known. Once.
  void start();
  // The namespaces are known now; if the ring selects by them, work begins.
  void namespaces_synced();
  // The ring's shards have changed: so have its orphans.
  void watch_orphans();
  // The ring's shards have changed; `needed`: objects of available shards have to move, which the orphan watch does not
  // show. Wants a pass then, and where there is no such watch.
  void pass_for_shards(bool needed);
  // A pass over all its objects, or over those of one namespace; nothing before the resource is known.
  void pass_over_all();
  void pass_over_namespace(const std::string& name);
  // The sync: tries again what was given up, because it may be permitted by now.
  void sync();
  // An outage is over: ends the long pauses of what failed meanwhile.
  void server_is_back();
  // From time to time.
  void look();
  ResourceReport report() const;
  // Adds the objects that drain.
  void add_to(Flows& flows) const;

  void pass_begins() override;
  void pass_ended() override;
  void settled(std::uint64_t object) override { passed_.settled(object); }
  // The ring does not select a namespace any more.
  void deselected() { unassigned_.deselected(); }
  bool has_room() const override { return mover().has_room(*this); }
  bool consider(const kube::ObjectMeta& object) override;
  void page_ended() override { mover().pump(); }
  void lists_trouble(const std::optional<Error>& error) override;
  void room_changed() override;

 private:
  Mover& mover() const { return ring_.mover; }
  // `max_age`: of what discovery knows.
  void resolve(std::chrono::nanoseconds max_age);
  void resolved(Result<kube::Resource> resource);
  bool is_ready() const;
  void begin();
  void pass(std::chrono::nanoseconds pause = {});
  // Whether it drains to a shard to which it does not belong any more.
  bool drains_astray(const kube::ObjectMeta& object) const;
  void patches_trouble(const std::optional<Error>& error);
  // `verb`: what fails for the resource, "list", "watch" or "patch".
  void set_trouble(const std::string& verb, const std::optional<Error>& error);

  const std::shared_ptr<Tools> tools_;
  const RingParts ring_;
  bool resolving_ = false;
  bool is_unserved_ = false;  // discovery said so
  Backoff discovery_backoff_{{.initial = std::chrono::seconds(1), .max = std::chrono::minutes(1)}};
  Timer discovery_timer_;
  UnassignedCounter unassigned_;
  OrphanWatch orphans_;
  std::optional<DrainCounter> drains_;  // of a main resource
  PassCounter passed_;
  bool is_full_ = false;                // until there is room again
  bool patches_not_permitted_ = false;  // moves were dropped; the next pass tries again
  // Between passes while patches are not permitted.
  Backoff patch_backoff_{{.initial = std::chrono::seconds(10), .max = std::chrono::minutes(5)}};
  Lifetime lifetime_;
};

}  // namespace sharder::rebalancer
