#pragma once

#include <filesystem>
#include <optional>

namespace sharder::app {

// How many CPUs this process may keep busy: the cgroup's quota rounded up (v2 cpu.max, v1 cpu.cfs_quota_us), else the
// CPUs it may run on. At least 1. `cgroup_root` is where cgroupfs is mounted.
unsigned usable_cpus(const std::filesystem::path& cgroup_root = "/sys/fs/cgroup");

// The quota alone, rounded up; nullopt when there is none.
std::optional<unsigned> cgroup_cpu_quota(const std::filesystem::path& cgroup_root);

}  // namespace sharder::app
