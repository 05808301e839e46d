#include "sharder/cpu_quota.h"

#include <algorithm>
#include <fstream>
#include <string>
#include <thread>

namespace sharder::app {
namespace {

std::optional<unsigned> rounded_up(std::int64_t quota, std::int64_t period) {
  if (quota <= 0 || period <= 0) {
    return std::nullopt;
  }
  return static_cast<unsigned>(std::clamp<std::int64_t>((quota + period - 1) / period, 1, 1024));
}

}  // namespace

std::optional<unsigned> cgroup_cpu_quota(const std::filesystem::path& cgroup_root) {
  std::int64_t quota = 0;
  std::int64_t period = 0;
  // In a container the cgroup's own folder is mounted at the root. "max 100000" without a quota: quota stays 0.
  if (std::ifstream(cgroup_root / "cpu.max") >> quota >> period) {
    return rounded_up(quota, period);
  }
  if (std::ifstream(cgroup_root / "cpu" / "cpu.cfs_quota_us") >> quota &&
      std::ifstream(cgroup_root / "cpu" / "cpu.cfs_period_us") >> period) {
    return rounded_up(quota, period);
  }
  return std::nullopt;
}

unsigned usable_cpus(const std::filesystem::path& cgroup_root) {
  const unsigned cores = std::max(1U, std::thread::hardware_concurrency());  // those of the affinity mask
  return std::min(cores, cgroup_cpu_quota(cgroup_root).value_or(cores));
}

}  // namespace sharder::app
