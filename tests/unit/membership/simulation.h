#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "membership/ledger.h"

namespace sharder::testing {

// A cluster in miniature, on one thread and with a time of its own: an API server that keeps Leases and can be paused,
// shards that renew theirs, and replicas of the sharder, each a Ledger with a wall clock that may be wrong. Everything
// worth a line is written to log(). It advances in steps of 100 ms; what takes no time in reality takes none here.
class Simulation {
 public:
  using Duration = std::chrono::milliseconds;

  // Runs one command of a transcript (tests/testdata/membership/README.md); throws std::runtime_error for nonsense.
  void command(const std::string& line);
  // What was written since the last call.
  std::string take_log();

 private:
  struct Object {
    nlohmann::json json;
    std::uint64_t version = 0;
  };
  struct WatchEvent {
    Duration at{};  // when it arrives
    membership::LeaseId id;
    std::optional<std::string> json;  // nullopt: deleted
  };
  struct Request {
    Duration until{};                          // when its sender gives up
    std::optional<membership::Action> action;  // else a probe
    membership::LeaseId lease;
  };
  struct Replica {
    std::string name;
    std::unique_ptr<membership::Ledger> ledger;
    Duration ahead{};  // of its wall clock
    Duration lag{};    // of its watch
    bool watching = false;
    Duration next_probe{};
    bool probing = false;
    std::deque<WatchEvent> events;
    std::deque<Request> requests;
  };
  struct Shard {
    membership::LeaseId id;
    std::string ring;
    std::chrono::seconds duration{15};
    Duration next_renewal{};
    bool running = false;
  };

  using Arguments = std::map<std::string, std::string>;
  void start_replica(const std::string& name, const Arguments& arguments);
  void start_shard(const std::string& name, const Arguments& arguments);
  void put_lease(const std::string& name, const Arguments& arguments);
  void exit_shard(const std::string& name);
  void cordon(const membership::LeaseId& id, bool cordoned);
  void show(const std::string& name);
  void pause(bool paused);
  void set_watching(Replica& replica, bool watching);
  void run(Duration time);

  void step();
  void renew(Shard& shard);
  void serve(Replica& replica);
  Result<membership::ActionAnswer> carry_out(const membership::Action& action);
  void settle(Replica& replica);
  void put(const membership::LeaseId& id, nlohmann::json json);
  void erase(const membership::LeaseId& id);
  void list(Replica& replica);
  membership::Now now(const Replica& replica) const;
  WallTime wall() const { return kStart + time_; }
  std::ostream& line();

  static constexpr WallTime kStart{std::chrono::sys_days(std::chrono::year(2026) / 1 / 1)};
  static constexpr Duration kStep{100};

  Duration time_{};
  bool paused_ = false;
  std::optional<std::string> writes_fail_;  // "": with 503
  std::uint64_t version_ = 0;
  std::map<std::string, ring::RingObject> rings_;
  std::map<membership::LeaseId, Object> leases_;
  std::map<std::string, Shard> shards_;
  std::map<std::string, Replica> replicas_;
  std::ostringstream log_;
};

}  // namespace sharder::testing
