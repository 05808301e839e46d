#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "ring/controller_ring.h"

namespace sharder::ring {

// A ControllerRing object as it stands in the cluster (protocol, 2): a plain value.
struct RingObject {
  ControllerRing spec;
  // What is wrong with the spec, as a sentence for a person; "": nothing. With an error, `spec` holds what could be
  // read; if the namespaceSelector is wrong, `spec` has one that selects nothing.
  std::string spec_error;
  bool deleting = false;  // has a deletionTimestamp

  // The values in the object's status; 0 before the first status.
  std::int64_t observed_generation = 0;
  std::int64_t status_shards = 0;
  std::int64_t status_available_shards = 0;
  std::optional<bool> ready = {};              // the condition Ready; nullopt: absent or Unknown
  std::optional<bool> webhook_reachable = {};  // the condition of this name; the same

  // Annotations (protocol, 12):
  std::string rebalance_requested_at = {};  // "": none
  std::chrono::nanoseconds grace_period{};  // 0: none
  std::string grace_period_error = {};      // why the annotation is no grace period, "" when it is one or absent
  bool operator==(const RingObject&) const = default;
};

}  // namespace sharder::ring
