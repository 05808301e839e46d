#pragma once

#include <optional>
#include <string>

#include "base/error.h"

namespace sharder::ring {

// membership/ notifies it of changes, on the control loop, after the RingSet and the Snapshot with the change have been
// published. The first notifications come when rings and Leases have synced: each ring is then added. Keep the calls
// short, because they run inside the loop's work.
class Listener {
 public:
  virtual ~Listener() = default;
  virtual void on_ring_added(const std::string& ring) = 0;
  // Its spec (generation) changed, or it is another object of the same name (uid).
  virtual void on_ring_changed(const std::string& ring) = 0;
  virtual void on_ring_removed(const std::string& ring) = 0;
  // A Lease of the ring appeared or went, its availability changed, or the marks that it depends on (protocol, 12).
  virtual void on_shards_changed(const std::string& ring) = 0;
  // Somebody wants all objects of the ring to be looked at now: the annotation has another text.
  virtual void on_rebalance_requested(const std::string& /*ring*/) {}
  // Alternates, beginning with true.
  virtual void on_leading(bool leading) = 0;
  // While leading: `what`, work for the ring, has a lasting failure; nullopt: the failure is over.
  virtual void on_trouble(const std::string& /*ring*/, const std::string& /*what*/,
                          const std::optional<Error>& /*trouble*/) {}
};

}  // namespace sharder::ring
