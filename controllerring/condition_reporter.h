#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "base/backoff.h"
#include "base/clock.h"
#include "base/lifetime.h"
#include "controllerring/reconciliation.h"
#include "controllerring/status.h"
#include "kube/client/lasting_failure.h"
#include "ring/snapshot.h"

namespace sharder::controllerring {

// Writes one condition of the rings' status, besides Ready, for whoever looks now and then at what it says
// (ReachabilityReporter, AssignmentReporter). What two looks in a row have found is reported:
//
//   consider ──► as reported ──► nothing
//    │
//    └─────────► other than at the last look, or too soon after the last change ──► nothing, the next look decides
//    └─────────► a Report ── write ──► read the ring ──► PUT /status if it changes ──► log; Event, if it is a new
//                                                                                      reason for False
//
// A condition that changes again and again costs a write in half a minute and one Event for each reason, until it was
// True for a sync period. Lives on the control loop.
class ConditionReporter {
 public:
  // Between two changes of a condition that follow each other soon. With two looks each 5 s, this is still less than a
  // minute.
  static constexpr BackoffPolicy kPauses{.initial = std::chrono::seconds(5), .max = std::chrono::seconds(40)};

  struct Kind {
    std::string_view type;     // of the condition
    std::string_view event;    // the reason of the Event
    std::string_view well;     // the line of the log for a status that is not False,
    std::string_view trouble;  // and for False
    std::string_view failure;  // and for a condition that cannot be written
  };
  // What is being written.
  struct Report {
    std::string ring, uid;
    std::int64_t generation = 0;
    Condition condition;
    int conflicts = 0;
  };

  ConditionReporter(std::shared_ptr<Tools> tools, const Kind& kind) : tools_(std::move(tools)), kind_(kind) {}
  ~ConditionReporter() { lead(false); }
  ConditionReporter(const ConditionReporter&) = delete;
  ConditionReporter& operator=(const ConditionReporter&) = delete;

  // Forgets everything that it knew.
  void lead(bool leading);
  void ring_removed(const std::string& ring) { works_.erase(ring); }

  // A look has found this. What it returns is under way until the caller ends it by write(), withdraw() or failed().
  // `read_again`: somebody may have taken the condition away, so the ring is read so often even if nothing changes.
  std::optional<Report> consider(const ring::RingStatus& ring, const Condition& found,
                                 std::chrono::nanoseconds read_again);
  void write(Report report);
  // It is not true any more: the next two looks report what is.
  void withdraw(const Report& report);
  void failed(const Report& report, const Error& error);
  // False: the ring has gone, also if there is another one of the same name.
  bool is_wanted(const Report& report) { return work_of(report) != nullptr; }

  // Sends a request as long as this leads; `then` runs on the control loop, and not after the leadership has ended.
  void send(kube::Request request, std::function<void(Result<kube::Response>)> then);

  // What the status of the ring with this uid says, for Outcome::others; nullopt: not known.
  std::optional<Condition> reported(const std::string& ring, const std::string& uid) const;

 private:
  struct Work {
    std::optional<Condition> found;  // at the last look
    // What the status says:
    std::optional<Condition> reported;
    std::string uid;
    std::int64_t generation = 0;
    SteadyTime reported_at = {};  // the last time that it was found to say so
    SteadyTime changed_at = {};   // since when it has this status
    std::string writing;          // the uid of the ring whose report is under way; "": none
    SteadyTime not_before = SteadyTime::min();
    Backoff change_pauses{kPauses};
    Backoff failure_pauses{kube::kLastingPauses};
    std::set<std::string> recorded;  // reasons for False of which there was an Event
  };

  Work* work_of(const Report& report);
  void ring_read(Report report, const Result<kube::Response>& answer);
  void written(Report report, const Result<kube::Response>& answer);
  void done(const Report& report, bool changed);
  void announce(const Report& report, Work& work);

  const std::shared_ptr<Tools> tools_;
  const Kind kind_;
  std::map<std::string, Work> works_;
  kube::LastingFailure failure_;
  std::shared_ptr<std::atomic<bool>> leading_;  // read on the API loop, before a request is sent
  std::unique_ptr<Lifetime> term_;              // answers that come after its end are ignored
};

}  // namespace sharder::controllerring
