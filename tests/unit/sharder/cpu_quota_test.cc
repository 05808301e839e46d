#include "sharder/cpu_quota.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <string>

using sharder::app::cgroup_cpu_quota;
using sharder::app::usable_cpus;

namespace {

// A folder that looks like a mounted cgroup.
class Cgroup {
 public:
  Cgroup() {
    std::string name = (std::filesystem::temp_directory_path() / "cgroup-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~Cgroup() { std::filesystem::remove_all(path_); }
  Cgroup(const Cgroup&) = delete;
  Cgroup& operator=(const Cgroup&) = delete;

  void write(const std::string& file, const std::string& text) const {
    std::filesystem::create_directories((path_ / file).parent_path());
    std::ofstream(path_ / file) << text;
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace

TEST_CASE("a cgroup v2 quota is rounded up to whole CPUs") {
  const Cgroup cgroup;
  cgroup.write("cpu.max", "150000 100000\n");
  CHECK(cgroup_cpu_quota(cgroup.path()) == 2U);
  cgroup.write("cpu.max", "10000 100000\n");
  CHECK(cgroup_cpu_quota(cgroup.path()) == 1U);
  CHECK(usable_cpus(cgroup.path()) == 1U);
}

TEST_CASE("a cgroup v2 without a quota gives none") {
  const Cgroup cgroup;
  cgroup.write("cpu.max", "max 100000\n");
  CHECK(cgroup_cpu_quota(cgroup.path()) == std::nullopt);
  CHECK(usable_cpus(cgroup.path()) >= 1U);
}

TEST_CASE("a cgroup v1 quota counts, -1 means none") {
  const Cgroup cgroup;
  cgroup.write("cpu/cpu.cfs_period_us", "100000\n");
  cgroup.write("cpu/cpu.cfs_quota_us", "300000\n");
  CHECK(cgroup_cpu_quota(cgroup.path()) == 3U);
  cgroup.write("cpu/cpu.cfs_quota_us", "-1\n");
  CHECK(cgroup_cpu_quota(cgroup.path()) == std::nullopt);
}

TEST_CASE("no cgroup, no quota") {
  CHECK(cgroup_cpu_quota("/nonexistent") == std::nullopt);
}
