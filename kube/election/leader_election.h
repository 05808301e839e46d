#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/log.h"
#include "kube/client/api.h"
#include "kube/client/object_reference.h"
#include "kube/election/election_options.h"

namespace sharder::kube {

// Holds a Lease as client-go's leader election does on the wire: for the leader of several replicas, and for a shard
// (shard/lease.h). Another's Lease counts as expired when its record has not changed for lease_duration by *our*
// monotonic clock: no clock but our own is trusted. Our own ends for us renew_deadline after the last renewal *began*,
// by CLOCK_BOOTTIME: before anybody else may take it. election_state.h has the rules, and why two never hold it at
// once. Has a thread of its own; give it an Api of its own, so that nothing delays a renewal.
class LeaderElection {
 public:
  // All run on the election thread and must be short: while one runs, nothing is renewed.
  struct Callbacks {
    // on_elected: after we hold the Lease. on_lost: as soon as we must not lead any more (the Lease ran out, another
    // holds it, stop()). They alternate, on_elected first. A lost Lease is tried for again.
    std::function<void()> on_elected;
    std::function<void()> on_lost;
    // May be empty. Gets what client-go records as a Normal Event with reason LeaderElection, source component the
    // identity: "<identity> became leader", "<identity> stopped leading".
    std::function<void(const ObjectReference& lease, const std::string& message)> on_event = {};
    // May be empty. After on_elected and each renewal, and after on_lost: then `valid_until` is past.
    std::function<void(BootTime valid_until)> on_renewed = {};
  };

  // Needs lease_duration > renew_deadline > retry_period > 0, an identity, and name and namespace of the Lease; throws
  // std::invalid_argument otherwise.
  LeaderElection(Api& api, const Clock& clock, LeaderElectionOptions options, Callbacks callbacks, Logger log);
  // As stop().
  ~LeaderElection();

  void start();
  // Stops renewing. on_lost runs, then `released_when` on the calling thread: it returns when the leader's requests in
  // flight are answered, and need not wait longer than lease_duration, because another may lead then anyway. Then the
  // Lease is released if it is ours: holderIdentity empty, leaseDurationSeconds 1. In an outage that takes at most 5 s.
  // From any thread but the election's; a second call returns when the first has.
  void stop(std::function<void()> released_when = {});
  // Stops renewing. on_lost runs, and the Lease is never released: it expires by itself. Also while stop() waits for
  // `released_when`, which need not return then. From any thread but the election's.
  void abandon();

  // Within on_elected and on_renewed only. Whether there was no Lease, or a released one, or another identity's, when
  // it was acquired.
  bool was_taken() const;
  // Likewise. Of options.seen_label, as the Lease was last seen; "" without one.
  std::string seen_label() const;

  // Safe from any thread. False as soon as our time is over by CLOCK_BOOTTIME, even before on_lost.
  bool leading() const;
  // The end of that time. In the past, or BootTime::min(), when it is over.
  BootTime valid_until() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sharder::kube
