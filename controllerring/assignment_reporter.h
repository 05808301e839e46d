#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/guarded.h"
#include "base/timer.h"
#include "controllerring/assignment.h"
#include "controllerring/condition_reporter.h"
#include "controllerring/reconciliation.h"
#include "ring/snapshot.h"

namespace sharder::controllerring {

// The leader's part for the condition AllAssigned (decision 10): every kEvery it asks for the objects of each ring that
// have no shard. ConditionReporter writes the result; numbers that change while the status stays are written once in
// kMessagePause. When objects cannot be counted for kAssignmentPatience, the condition is Unknown.
//
// Lives on the control loop.
class AssignmentReporter {
 public:
  static constexpr std::chrono::seconds kEvery{5};
  static constexpr std::chrono::minutes kMessagePause{1};

  // Everything given outlives it.
  AssignmentReporter(std::shared_ptr<Tools> tools, const Published<ring::Snapshot>& snapshots, AssignmentCheck check);

  // Forgets everything that it knew.
  void lead(bool leading);
  void ring_removed(const std::string& ring);

  // As ConditionReporter::reported().
  std::optional<Condition> reported(const std::string& ring, const std::string& uid) const {
    return conditions_.reported(ring, uid);
  }

 private:
  struct Work {
    SteadyTime counted = {};              // the last time that all was
    std::optional<Condition> found = {};  // the newest, but for its numbers
    SteadyTime found_at = {};
  };

  void look();
  std::optional<Condition> find(const std::string& ring);

  const std::shared_ptr<Tools> tools_;
  const Published<ring::Snapshot>& snapshots_;
  const AssignmentCheck check_;
  std::map<std::string, Work> works_;
  ConditionReporter conditions_;
  Timer timer_;
};

}  // namespace sharder::controllerring
