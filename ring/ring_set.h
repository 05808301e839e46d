#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ring/controller_ring.h"
#include "ring/ring.h"

namespace sharder::ring {

// How a resource takes part in a ring. A resource listed as main and as controlled counts as main (protocol, 4).
enum class Role { kNone, kMain, kControlled };

// One ControllerRing with its shards: immutable, safe from any thread. Objects belong to its members. From an available
// shard nothing is taken before it has let go: members are available, and so are cordoned shards, which are no members.
class RingEntry {
 public:
  // `ring` has the members. It is shared with the entries of older RingSets as long as they are the same. `cordoned`:
  // the available shards that are no members; sorted.
  RingEntry(ControllerRing spec, std::shared_ptr<const Ring> ring, std::vector<std::string> cordoned = {});

  const ControllerRing& spec() const { return spec_; }
  const Ring& ring() const { return *ring_; }
  const std::vector<std::string>& cordoned() const { return cordoned_; }
  bool is_available(std::string_view shard) const;
  const std::string& shard_label() const { return shard_label_; }
  const std::string& drain_label() const { return drain_label_; }
  // No allocation; linear in the number of the ring's resources, which is small.
  Role role(std::string_view group, std::string_view resource) const;

 private:
  ControllerRing spec_;
  std::shared_ptr<const Ring> ring_;
  std::vector<std::string> cordoned_;
  std::string shard_label_;
  std::string drain_label_;
};

// All rings at one moment: immutable, safe from any thread. membership/ publishes a new one with each change of the
// rings, of their members or of their available shards; webhook/ and rebalancer/ decide by it.
struct RingSet {
  std::uint64_t version = 0;  // grows by one with each RingSet of this process
  std::map<std::string, std::shared_ptr<const RingEntry>, std::less<>> rings;

  const RingEntry* find(std::string_view name) const {
    const auto found = rings.find(name);
    return found == rings.end() ? nullptr : found->second.get();
  }
};

}  // namespace sharder::ring
