#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/clock.h"
#include "base/log.h"
#include "kube/events/events.h"
#include "rebalancer/tools.h"

namespace sharder::rebalancer {

// What the Mover has to say about single objects of a ring, in the log and as Events. A policy that refuses every patch
// concerns all objects: a few are named each minute, the metrics count them all. On the control loop.
class Complaints {
 public:
  static constexpr int kNamed = 10;
  static constexpr std::chrono::minutes kPeriod{1};

  struct Complaint {
    std::string_view line;   // of the log
    std::string_view event;  // its reason
    std::string message;
  };

  // `ring`: for Events.
  Complaints(std::shared_ptr<Tools> tools, kube::ObjectReference ring, const Logger& log)
      : tools_(std::move(tools)), ring_(std::move(ring)), log_(log) {}

  // `error`: "" for none.
  void say(const Complaint& complaint, const std::string& object, const std::string& error);

 private:
  const std::shared_ptr<Tools> tools_;
  const kube::ObjectReference ring_;
  const Logger log_;
  std::optional<SteadyTime> since_;
  int said_ = 0;  // since then
};

}  // namespace sharder::rebalancer
