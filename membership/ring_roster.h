#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "membership/shard_lease.h"
#include "ring/ring_object.h"
#include "ring/ring_set.h"
#include "ring/snapshot.h"

namespace sharder::membership {

enum class ChangeKind { kRingAdded, kRingChanged, kRingRemoved, kShardsChanged, kRebalanceRequested };

// What listeners are notified of; ring::Listener says what each means.
struct Change {
  ChangeKind kind;
  std::string ring;
  bool operator==(const Change&) const = default;
};

// The rings and their shards; publish() makes the RingSet and the Snapshot of them. A pure value without time. The
// other calls only note what changes; publish() rebuilds the rings concerned, and no others.
class RingRoster {
 public:
  void put_ring(ring::RingObject object);
  void remove_ring(const std::string& name);
  const ring::RingObject* find_ring(const std::string& name) const;
  // Names of all rings.
  std::vector<std::string> ring_names() const;

  // Adds or replaces a shard of the ring with this name; the ring need not exist. A Lease that was only renewed changes
  // nothing, and costs one lookup.
  void put_shard(const std::string& ring, const ring::ShardStatus& shard);
  void remove_shard(const std::string& ring, const LeaseId& id);

  struct News {
    std::shared_ptr<const ring::RingSet> ring_set;   // null: as before
    std::shared_ptr<const ring::Snapshot> snapshot;  // null: as before
    std::vector<Change> changes;
    std::vector<std::string> calculated;  // rings whose tokens were computed
  };
  // What is new since the last call. The first call always brings a RingSet and a Snapshot, even without rings.
  News publish();

 private:
  struct Roster {
    std::optional<ring::RingObject> object;
    std::map<LeaseId, ring::ShardStatus> shards;

    // What was published last.
    std::shared_ptr<const ring::Ring> ring;
    std::shared_ptr<const ring::RingEntry> entry;
    std::shared_ptr<const ring::RingStatus> status;

    // Something was noted since then.
    bool dirty = false;
  };

  struct Draft;

  Roster& touch(const std::string& ring);
  // True: the ring's entry in the RingSet has changed.
  static bool renew_entry(Roster& roster, bool& calculated);
  static void renew_status(Roster& roster);
  static void renew(const std::string& name, Roster& roster, Draft& draft, News& news);
  static void add_changes(const std::string& name, const ring::RingStatus* before, const ring::RingStatus* after,
                          std::vector<Change>& changes);

  std::map<std::string, Roster> rosters_;
  std::vector<std::string> dirty_;  // names of those with Roster::dirty
  std::uint64_t version_ = 0;
  std::shared_ptr<const ring::RingSet> ring_set_;
  std::shared_ptr<const ring::Snapshot> snapshot_;
};

}  // namespace sharder::membership
