#pragma once

#include <optional>
#include <string>

#include "base/error.h"

namespace sharder::ring {

// Told by membership/ what changed, on the control loop, after the RingSet and the Snapshot that show the change have
// been published. Nothing is told before rings and Leases have synced; then each ring is told as added. Keep the calls
// short: they run inside the loop's work.
class Listener {
 public:
  virtual ~Listener() = default;
  virtual void on_ring_added(const std::string& ring) = 0;
  // Its spec (generation) changed, or it is another object of the same name (uid).
  virtual void on_ring_changed(const std::string& ring) = 0;
  virtual void on_ring_removed(const std::string& ring) = 0;
  // A Lease of the ring appeared or went, or its availability flipped.
  virtual void on_shards_changed(const std::string& ring) = 0;
  // Alternating, true first.
  virtual void on_leading(bool leading) = 0;
  // While leading: `what` is to be done for the ring and fails and fails; nullopt: not any more.
  virtual void on_trouble(const std::string& /*ring*/, const std::string& /*what*/,
                          const std::optional<Error>& /*trouble*/) {}
};

}  // namespace sharder::ring
