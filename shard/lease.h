#pragma once

#include <functional>
#include <memory>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "shard/options.h"

namespace sharder::shard {

// The Lease of a shard (protocol, 3): creates it with the ring label, renews it, releases it. Its name, the shard's
// name and the holder identity are the same. Has a thread of its own. Shard has one already (Shard::valid_until());
// use it alone when only the Lease is wanted: the sharder then assigns objects, and the rest is the caller's.
//
// Each shard needs a name of its own. When another process renews a Lease of this name, this one does not acquire it,
// or loses it at once; the log has an error then. A Lease that an earlier process of this name has left behind is
// acquired when nobody has renewed it for two retry periods (decision 9).
class Lease {
 public:
  struct Callbacks {
    // All run on the Lease's thread and must be short: while one runs, nothing is renewed.
    std::function<void()> on_acquired;
    // As soon as the Lease is not valid any more: it could not be renewed in time, another holds it, it was deleted, or
    // stop(). It is tried for again, and on_acquired comes again: end the process if old work may still go on.
    std::function<void()> on_lost;
    // May be empty. After each renewal, the first included, and after on_lost: then `valid_until` is past.
    std::function<void(BootTime valid_until)> on_renewed = {};
  };

  // Reads kubeconfig or service account as Shard::create() does, and ignores SIGPIPE; does not connect. Of the options,
  // those of addresses, shutdown_grace and observer have no effect. kInvalid says what is missing or wrong.
  static Result<std::unique_ptr<Lease>> create(Options options, Callbacks callbacks, Logger log);
  // As stop().
  ~Lease();
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

  void start();
  // Stops renewing. on_lost runs, then `released_when` on the calling thread: it returns when nothing of the shard's
  // work is under way any more. Then the Lease is released if it is ours; in an outage that takes at most 5 s. From any
  // thread but the Lease's; a second call returns when the first has.
  void stop(std::function<void()> released_when = {});
  // Stops renewing without a release: the Lease expires by itself. For work that does not end; also while stop() waits
  // for `released_when`. From any thread but the Lease's.
  void abandon();

  // Within on_acquired and on_renewed only. Whether the sharder knows that this name holds the Lease, by its state
  // label: it decides on no more moves of this shard's objects then but drains (decision 9).
  bool is_seen() const;
  // Likewise. Whether there was no Lease, or a released one, or another's, before this process has acquired it: then
  // list the objects 2 s after is_seen(), when the moves that were decided before have landed.
  bool begins_anew() const;

  // Any thread. False as soon as its time is over by CLOCK_BOOTTIME, even before on_lost.
  bool valid() const;
  // The Lease is valid until then; in the past, or BootTime::min(), when it is not. Compare with BootClock::now().
  BootTime valid_until() const;

 private:
  friend struct LeaseAccess;
  struct Impl;
  explicit Lease(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace sharder::shard
