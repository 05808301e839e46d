#pragma once

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <filesystem>
#include <vector>

namespace sharder::ops {

// The process_* metrics as Prometheus' client libraries export them: CPU time, resident and virtual memory, open and
// allowed file descriptors, start time. Metrics that cannot be read are left out. Safe from any thread.
class ProcessCollector final : public prometheus::Collectable {
 public:
  // `proc` is where procfs is mounted.
  explicit ProcessCollector(std::filesystem::path proc = "/proc");

  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  const std::filesystem::path proc_;
};

}  // namespace sharder::ops
