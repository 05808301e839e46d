#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/error.h"
#include "shard/object.h"

namespace sharder::shard {

// One run of the reconcile function.
struct ReconcileRun {
  std::uint64_t id;  // unique in this process
  ResourceName resource;
  ObjectName object;
  std::string resource_version;  // of the main object that it was given
};

// Is notified of what a shard does, so that somebody else can judge it (tests/judge) or show it. Called on worker
// threads and on the Lease's thread, also at the same time. Must not throw and must be short: on the Lease's thread it
// delays the next renewal. Wall times are the start or end themselves, not of the call.
class Observer {
 public:
  virtual ~Observer() = default;
  // Called before the reconcile function, and after it has returned.
  virtual void on_reconcile_begin(const ReconcileRun& run, WallTime when) = 0;
  virtual void on_reconcile_end(const ReconcileRun& run, WallTime when) = 0;
  // The Lease is valid until then, by this machine's wall clock as it is now. In the past when it was lost or released.
  virtual void on_lease(WallTime valid_until, WallTime when) = 0;
};

// Writes one line of JSON for each notification to `file`, as tests/judge reads it:
//   {"event":"begin","shard":"a","id":1,"resource":"secrets","namespace":"ns","name":"x","resourceVersion":"17","time":1790000000.123456}
//   {"event":"end","shard":"a","id":1,"time":...}
//   {"event":"lease","shard":"a","validUntil":...,"time":...}
// Times are seconds since the epoch with 6 decimals. Each line is one write() to a file opened with O_APPEND. kInvalid
// names the file when it cannot be opened.
Result<std::shared_ptr<Observer>> journal_to(const std::string& file, std::string shard);

}  // namespace sharder::shard
