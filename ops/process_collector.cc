#include "ops/process_collector.h"

#include <sys/resource.h>
#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <iterator>
#include <limits>
#include <optional>
#include <sstream>
#include <string>
#include <system_error>
#include <utility>

namespace sharder::ops {
namespace {

// The fields of /proc/self/stat that we need (proc(5)).
struct Stat {
  std::uint64_t user_ticks, system_ticks;
  std::uint64_t start_ticks;  // since boot
  std::uint64_t virtual_bytes;
  std::int64_t resident_pages;
};

std::optional<Stat> read_stat(const std::filesystem::path& proc) {
  std::ifstream file(proc / "self/stat");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  // The second field is the program's name in parentheses and may itself have blanks and parentheses: count from behind
  // it. The next field is field 3.
  const auto name_end = text.rfind(')');
  if (name_end == std::string::npos) {
    return std::nullopt;
  }
  std::istringstream fields(text.substr(name_end + 1));
  const std::vector<std::string> values{std::istream_iterator<std::string>(fields), {}};
  if (values.size() < 22) {
    return std::nullopt;
  }
  const auto number = [&](std::size_t field) { return std::strtoull(values[field - 3].c_str(), nullptr, 10); };
  return Stat{.user_ticks = number(14),
              .system_ticks = number(15),
              .start_ticks = number(22),
              .virtual_bytes = number(23),
              .resident_pages = static_cast<std::int64_t>(number(24))};
}

// Seconds since the epoch, from /proc/stat's line "btime".
std::optional<double> read_boot_time(const std::filesystem::path& proc) {
  std::ifstream file(proc / "stat");
  for (std::string word; file >> word;) {
    if (double seconds = 0; word == "btime" && file >> seconds) {
      return seconds;
    }
    file.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  return std::nullopt;
}

std::optional<double> count_descriptors(const std::filesystem::path& proc) {
  std::error_code error;
  std::filesystem::directory_iterator entry(proc / "self/fd", error);
  if (error) {
    return std::nullopt;
  }
  double count = -1;  // the one with which we read the folder
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    ++count;
  }
  return count;
}

class Families {
 public:
  void counter(std::string name, std::string help, double value) {
    prometheus::ClientMetric metric;
    metric.counter.value = value;
    add(std::move(name), std::move(help), prometheus::MetricType::Counter, std::move(metric));
  }
  void gauge(std::string name, std::string help, double value) {
    prometheus::ClientMetric metric;
    metric.gauge.value = value;
    add(std::move(name), std::move(help), prometheus::MetricType::Gauge, std::move(metric));
  }
  std::vector<prometheus::MetricFamily> take() { return std::move(families_); }

 private:
  void add(std::string name, std::string help, prometheus::MetricType type, prometheus::ClientMetric metric) {
    families_.push_back(
        {.name = std::move(name), .help = std::move(help), .type = type, .metric = {std::move(metric)}});
  }

  std::vector<prometheus::MetricFamily> families_;
};

}  // namespace

ProcessCollector::ProcessCollector(std::filesystem::path proc) : proc_(std::move(proc)) {}

std::vector<prometheus::MetricFamily> ProcessCollector::Collect() const {
  const auto ticks_per_second = static_cast<double>(sysconf(_SC_CLK_TCK));
  Families families;
  if (const auto stat = read_stat(proc_)) {
    families.counter("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.",
                     static_cast<double>(stat->user_ticks + stat->system_ticks) / ticks_per_second);
    families.gauge("process_resident_memory_bytes", "Resident memory size in bytes.",
                   static_cast<double>(stat->resident_pages) * static_cast<double>(sysconf(_SC_PAGESIZE)));
    families.gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.",
                   static_cast<double>(stat->virtual_bytes));
    if (const auto boot = read_boot_time(proc_)) {
      families.gauge("process_start_time_seconds", "Start time of the process since unix epoch in seconds.",
                     *boot + static_cast<double>(stat->start_ticks) / ticks_per_second);
    }
  }
  if (const auto open = count_descriptors(proc_)) {
    families.gauge("process_open_fds", "Number of open file descriptors.", *open);
  }
  if (rlimit limit{}; getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    families.gauge("process_max_fds", "Maximum number of open file descriptors.", static_cast<double>(limit.rlim_cur));
  }
  return families.take();
}

}  // namespace sharder::ops
