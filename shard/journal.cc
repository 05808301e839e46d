#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "shard/observer.h"

namespace sharder::shard {

namespace {

// Seconds since the epoch; a double has room for microseconds.
double seconds(WallTime time) {
  return static_cast<double>(time.time_since_epoch().count()) / 1e6;
}

class Journal final : public Observer {
 public:
  Journal(int file, std::string shard) : file_(file), shard_(std::move(shard)) {}
  ~Journal() override { ::close(file_); }
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  void on_reconcile_begin(const ReconcileRun& run, WallTime when) override {
    write({{"event", "begin"},
           {"shard", shard_},
           {"id", run.id},
           {"resource", to_string(run.resource)},
           {"namespace", run.object.object_namespace},
           {"name", run.object.name},
           {"resourceVersion", run.resource_version},
           {"time", seconds(when)}});
  }
  void on_reconcile_end(const ReconcileRun& run, WallTime when) override {
    write({{"event", "end"}, {"shard", shard_}, {"id", run.id}, {"time", seconds(when)}});
  }
  void on_lease(WallTime valid_until, WallTime when) override {
    write({{"event", "lease"}, {"shard", shard_}, {"validUntil", seconds(valid_until)}, {"time", seconds(when)}});
  }

 private:
  // One write(): lines of several threads never mix, and what was written is there when the process is killed.
  void write(const nlohmann::json& line) const {
    const std::string text = line.dump() + "\n";
    static_cast<void>(!::write(file_, text.data(), text.size()));  // a full disk must not end the shard
  }

  const int file_;
  const std::string shard_;
};

}  // namespace

Result<std::shared_ptr<Observer>> journal_to(const std::string& file, std::string shard) {
  const int handle = ::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (handle < 0) {
    return fail(ErrorCode::kInvalid, "cannot open the journal " + file + ": " + std::strerror(errno));
  }
  return std::make_shared<Journal>(handle, std::move(shard));
}

}  // namespace sharder::shard
