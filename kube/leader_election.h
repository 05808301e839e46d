#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/log.h"
#include "kube/api.h"

namespace sharder::kube {

struct LeaderElectionOptions {
  std::string lease_namespace;
  std::string lease_name;
  std::string identity;  // "<hostname>_<uuid>"
  std::chrono::milliseconds lease_duration{15'000};
  std::chrono::milliseconds renew_deadline{10'000};
  std::chrono::milliseconds retry_period{2'000};
};

// Leader election on a Lease, as client-go does it on the wire. Another's lease counts as expired when its record has
// not changed for lease_duration by *our* monotonic clock: no clock but our own is trusted. Our own lease ends for us
// renew_deadline after the last renewal *began*, by CLOCK_BOOTTIME: before anybody else may take it.
// Has a thread of its own; give it an Api of its own, so that nothing delays a renewal.
class LeaderElection {
 public:
  // Both run on the election thread: on_elected after we hold the lease, on_lost as soon as we must not lead any more
  // (the lease ran out, another holds it, stop()). They alternate, on_elected first.
  struct Callbacks {
    std::function<void()> on_elected;
    std::function<void()> on_lost;
  };

  LeaderElection(Api& api, const Clock& clock, LeaderElectionOptions options, Callbacks callbacks, Logger log);
  // As stop().
  ~LeaderElection();

  void start();
  // Stops renewing. on_lost runs, then `released_when` is waited for (up to the lease's end: the leader's requests in
  // flight), then the lease is released: holderIdentity empty, leaseDurationSeconds 1. From any thread but the
  // election's.
  void stop(std::function<void()> released_when = {});

  bool leading() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sharder::kube
