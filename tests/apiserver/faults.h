#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <string>

#include "base/clock.h"
#include "tests/apiserver/request.h"

namespace sharder::apiserver {

// Which requests: all fields that are set must match.
struct FaultMatch {
  std::string method = {};            // "PATCH"
  std::string verb = {};              // "list"
  std::string path = {};              // a prefix
  std::string user_agent = {};        // a prefix
  std::string whole_user_agent = {};  // all of it

  bool matches(const Request& request) const;
};

// A fault that stays in force. What each does: README.md.
struct Fault {
  enum class Kind { kError, kLatency, kCut, kFreeze, kTrickle };
  enum class Cut { kBefore, kAfter, kMiddle };

  Kind kind = Kind::kError;
  FaultMatch match = {};
  std::optional<std::uint64_t> count = {};  // of requests, then it is over
  std::optional<double> fraction = {};      // of requests
  Status status = {};                       // kError
  std::chrono::milliseconds latency{0};     // kLatency, kTrickle
  Cut cut = Cut::kBefore;

  // Of an object as POSTed to /-/faults; 400 with the reason for anything else.
  static Outcome<Fault> from_json(const nlohmann::json& object);
  nlohmann::json to_json() const;
};

// What is to happen to one request.
struct Fate {
  std::chrono::milliseconds latency{0};
  std::optional<Status> error = {};
  std::optional<Fault::Cut> cut = {};
};

// The faults in force. Safe from any thread.
class Faults {
 public:
  // Its id, for remove().
  int add(Fault fault);
  bool remove(int id);
  // Also thaws.
  void clear();
  void thaw();

  // Counts the request. Waits while it is frozen, until stop().
  Fate decide(const Request& request);
  // Whether a freeze matches now; it is not counted.
  bool frozen(const Request& request) const;
  // How long a watch pauses between two events now; it is not counted.
  std::chrono::milliseconds pause(const Request& request) const;
  // Nothing is frozen any more, for good.
  void stop();

  // For GET: [{"id": 1, "hits": 3, "fault": ...}].
  nlohmann::json to_json() const;

 private:
  struct Active {
    Fault fault;
    std::uint64_t hits = 0;
  };
  bool frozen_locked(const Request& request) const;

  mutable std::mutex mutex_;
  std::condition_variable thawed_;
  std::map<int, Active> active_;
  int last_id_ = 0;
  bool stopped_ = false;
  std::minstd_rand random_{std::random_device{}()};
};

// The clock of timestamps that the server writes; it can be stopped. Safe from any thread.
class ServerClock {
 public:
  WallTime now() const;
  void freeze(std::optional<WallTime> at);
  void thaw();

 private:
  mutable std::mutex mutex_;
  std::optional<WallTime> frozen_;
};

}  // namespace sharder::apiserver
