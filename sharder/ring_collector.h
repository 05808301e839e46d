#pragma once

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <vector>

#include "base/guarded.h"
#include "ring/snapshot.h"

namespace sharder::app {

// The gauges of rings and shards (protocol, 8), made from the newest snapshot at each scrape. So a ring or shard that
// is gone from the cluster is gone from the metrics. Before the first snapshot the families are empty. Safe from any
// thread.
class RingCollector final : public prometheus::Collectable {
 public:
  // `snapshots` outlives it.
  explicit RingCollector(const Published<ring::Snapshot>& snapshots) : snapshots_(snapshots) {}

  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  const Published<ring::Snapshot>& snapshots_;
};

}  // namespace sharder::app
