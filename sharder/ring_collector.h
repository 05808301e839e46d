#pragma once

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <vector>

#include "base/guarded.h"
#include "ring/ring_set.h"
#include "ring/snapshot.h"

namespace sharder::app {

// The gauges of rings and shards (protocol, 8 and 10), made from the newest snapshot and RingSet at each scrape. So a
// ring or shard that is gone from the cluster is gone from the metrics. Before the first snapshot the families are
// empty. Safe from any thread.
class RingCollector final : public prometheus::Collectable {
 public:
  // Both outlive it.
  RingCollector(const Published<ring::Snapshot>& snapshots, const Published<ring::RingSet>& ring_sets)
      : snapshots_(snapshots), ring_sets_(ring_sets) {}

  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  const Published<ring::Snapshot>& snapshots_;
  const Published<ring::RingSet>& ring_sets_;
};

}  // namespace sharder::app
