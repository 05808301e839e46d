#include "ops/process_collector.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <map>
#include <string>

#include "base/clock.h"
#include "tests/support/temp_folder.h"

// protocol, 10: process_*.
namespace {

using sharder::ops::ProcessCollector;
using sharder::testing::TempFolder;

std::map<std::string, double> collect(const ProcessCollector& collector) {
  std::map<std::string, double> values;
  for (const auto& family : collector.Collect()) {
    REQUIRE(family.metric.size() == 1);
    CHECK_FALSE(family.help.empty());
    const bool counter = family.type == prometheus::MetricType::Counter;
    CHECK(counter == (family.name == "process_cpu_seconds_total"));
    values[family.name] = counter ? family.metric[0].counter.value : family.metric[0].gauge.value;
  }
  return values;
}

TEST_CASE("numbers come from procfs, also of a program with a strange name") {
  const TempFolder proc;
  proc.write(
      "self/stat",
      "42 (odd ) name) S 1 42 42 0 -1 4194304 1 0 0 0 150 50 0 0 20 0 7 0 3000 1048576 512 18446744073709551615\n");
  proc.write("stat", "cpu  1 2 3 4\ncpu0 1 2 3 4\nbtime 1700000000\nprocesses 9\n");
  for (const char* fd : {"self/fd/0", "self/fd/1", "self/fd/2", "self/fd/3"}) {
    proc.write(fd, "");
  }
  auto values = collect(ProcessCollector(proc.path()));
  const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  CHECK(values.at("process_cpu_seconds_total") == 200 / ticks);
  CHECK(values.at("process_resident_memory_bytes") == 512.0 * static_cast<double>(sysconf(_SC_PAGESIZE)));
  CHECK(values.at("process_virtual_memory_bytes") == 1048576);
  CHECK(values.at("process_start_time_seconds") == 1700000000 + 3000 / ticks);
  CHECK(values.at("process_open_fds") == 3);  // one is the reading's own
  CHECK(values.at("process_max_fds") > 0);
}

TEST_CASE("what cannot be read is left out") {
  const TempFolder proc;
  CHECK(collect(ProcessCollector(proc.path())).contains("process_max_fds"));
  CHECK(collect(ProcessCollector(proc.path())).size() == 1);
  proc.write("self/stat", "nonsense");
  CHECK(collect(ProcessCollector(proc.path())).size() == 1);
  proc.write("self/stat", "42 (a) S 1 2 3");
  CHECK(collect(ProcessCollector(proc.path())).size() == 1);
  proc.write("self/stat", "42 (a) S 1 42 42 0 -1 4194304 1 0 0 0 1 1 0 0 20 0 7 0 3000 1048576 512 1\n");
  proc.write("stat", "cpu 1\n");
  CHECK_FALSE(collect(ProcessCollector(proc.path())).contains("process_start_time_seconds"));
}

TEST_CASE("this process has plausible numbers") {
  const auto values = collect(ProcessCollector());
  CHECK(values.size() == 6);
  CHECK(values.at("process_open_fds") >= 3);
  CHECK(values.at("process_resident_memory_bytes") > 100'000);
  CHECK(values.at("process_virtual_memory_bytes") > values.at("process_resident_memory_bytes"));
  const double now = std::chrono::duration<double>(sharder::SystemClock().wall().time_since_epoch()).count();
  CHECK(values.at("process_start_time_seconds") <= now + 2);
  CHECK(values.at("process_start_time_seconds") > now - 24 * 3600);
}

}  // namespace
