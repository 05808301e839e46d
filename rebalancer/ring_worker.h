#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/backoff.h"
#include "base/lifetime.h"
#include "base/timer.h"
#include "kube/client/lasting_failure.h"
#include "rebalancer/drain_counter.h"
#include "rebalancer/mover.h"
#include "rebalancer/namespaces.h"
#include "rebalancer/object_watch.h"
#include "rebalancer/passes.h"
#include "rebalancer/ring_view.h"
#include "rebalancer/tools.h"

namespace sharder::rebalancer {

// Sees to it that each object of one ring, with one spec, is on its shard (design, 5): finds what has to move by its
// nets, and hands it to the Mover.
//
//                          ┌─► orphan watch, per resource: objects without a live shard ─┐
//   members change ────────┤                                                            ├─► Mover ──► patches
//   namespace selected,    └─► passes over all objects ──────────────────────────────────┘
//   sync period, 10 s later ───────►
//
// A DrainCounter, per main resource, tells how much drains. Lives on the control loop; another spec is
// another worker. Destroying it stops everything; patches under way end by themselves, each guarded by its
// resourceVersion.
class RingWorker {
 public:
  // After the last change of the members a further pass, for what a replica that lagged behind gave to a wrong shard.
  // While they go on changing it comes so long after the first change at the latest.
  static constexpr std::chrono::seconds kSecondPass{10};
  static constexpr std::chrono::seconds kSecondPassAtLatest{15};

  // `namespaces` outlives it.
  RingWorker(std::shared_ptr<Tools> tools, const Namespaces& namespaces, std::shared_ptr<const ring::RingEntry> entry);
  ~RingWorker();
  RingWorker(const RingWorker&) = delete;
  RingWorker& operator=(const RingWorker&) = delete;

  // Other members, the same spec.
  void members_changed(std::shared_ptr<const ring::RingEntry> entry);
  // The first list of namespaces is complete.
  void namespaces_synced();
  // A namespace came (`before` is null) or has other labels.
  void namespace_changed(const std::string& name, const LabelMap* before, const LabelMap& labels);
  // The namespaces cannot be watched; nullopt: they can.
  void namespaces_trouble(const std::optional<Error>& error);
  // The API server was away, or refused everything, and does so no more: what waits for a long pause to end does not.
  void server_is_back();

 private:
  enum class OrphanSelector { kNotIn, kAbsent };  // the second when the first is too long for an URL
  // What belongs to one source.
  struct Nets {
    std::unique_ptr<ObjectWatch> orphans;
    std::unique_ptr<DrainCounter> drains;  // of a main resource
    bool orphans_listed = false;           // by this watch
    bool orphans_cut = false;              // the watch brought more than there was room for: again when there is room
    kube::LastingFailure failure;          // of the watch: meanwhile passes find what has to move
    std::optional<SteadyTime> watching;    // since when; it may end at once, again and again
    bool watch_refused = false;            // not allowed, or none there is: it is not tried before the sync
    bool watch_told = false;
    bool needs_passes() const { return failure.pending() || selector == OrphanSelector::kAbsent; }
    OrphanSelector selector = OrphanSelector::kNotIn;
    bool resolving = false;
    bool unserved = false;         // discovery said so
    bool patch_forbidden = false;  // what waited was dropped; the next pass tries again
    Backoff discovery_backoff{{.initial = std::chrono::seconds(1), .max = std::chrono::minutes(1)}};
    // Between orphan watches that brought too much.
    Backoff cut_backoff{{.initial = std::chrono::milliseconds(200), .max = std::chrono::seconds(10)}};
    // Between passes while its objects may not be patched.
    Backoff patch_backoff{{.initial = std::chrono::seconds(10), .max = std::chrono::minutes(5)}};
    std::shared_ptr<ResourceMetrics> metrics;
  };
  // `max_age`: of what discovery knows.
  void resolve(std::uint32_t source, std::chrono::nanoseconds max_age);
  void resolved(std::uint32_t source, Result<kube::Resource> resource);
  bool ready(std::uint32_t source) const;
  // Begins what a source needs as soon as it is ready.
  void begin(std::uint32_t source);
  void refresh();
  void pass_over_all();
  void sync();
  void second_pass_later();
  void second_pass();
  void passes_idle(std::size_t objects);

  void watch_orphans(std::uint32_t source);
  void orphans_seen(std::uint32_t source, const std::vector<SeenObject>& objects);
  void orphan_connection(std::uint32_t source, bool watching, const std::optional<Error>& error);
  void orphans_failed(std::uint32_t source, const Error& error);
  void give_up_watch(std::uint32_t source, const Error& error);
  void watch_works(std::uint32_t source);
  // Whether it has been open for long enough to say that it works.
  void look_at_watch(std::uint32_t source);
  void cut_orphans(std::uint32_t source);
  // Opens it anew after the delay, if it is cut by then.
  void watch_orphans_later(std::uint32_t source, std::chrono::nanoseconds delay);
  void room_again(std::uint32_t source);
  void lists_trouble(std::uint32_t source, const std::optional<Error>& error);
  void patches_trouble(std::uint32_t source, const std::optional<Error>& error);
  std::string orphan_selector(const Nets& nets) const;

  bool consider(std::uint32_t source, const kube::ObjectMeta& object);
  void pass_begins(std::uint32_t source);
  void pass_ended(std::uint32_t source);
  // `verb` is said of the source's resource.
  void set_trouble(std::uint32_t source, const std::string& verb, const std::optional<Error>& error);
  void set_trouble(const std::string& what, const std::optional<Error>& error);
  void update_metrics();

  const std::shared_ptr<Tools> tools_;
  const Namespaces& namespaces_;
  RingView view_;
  const Logger log_;
  std::vector<Nets> nets_;  // by source
  std::unique_ptr<Mover> mover_;
  std::unique_ptr<Passes> passes_;
  bool joined_ = false;  // since the last refresh
  SteadyTime last_refresh_ = {};
  SteadyTime changing_since_ = {};  // the first change that the planned second pass is for
  std::map<std::string, Error> troubles_;
  Timer refresh_timer_;
  Timer second_pass_timer_;
  Timer sync_timer_;
  Timer metrics_timer_;
  Lifetime lifetime_;
};

}  // namespace sharder::rebalancer
