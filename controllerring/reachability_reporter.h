#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "base/backoff.h"
#include "base/clock.h"
#include "base/guarded.h"
#include "base/lifetime.h"
#include "base/timer.h"
#include "controllerring/reachability.h"
#include "controllerring/reconciliation.h"
#include "kube/client/lasting_failure.h"
#include "ring/snapshot.h"

namespace sharder::controllerring {

// The leader's part for the condition WebhookReachable (protocol, 5): every kEvery it compares the caBundle of each
// ring's webhook configuration with the certificate that this replica shows, so that it notices a change of either and
// the time at which a certificate expires. What two looks in a row have found is reported:
//
//   look ──► as reported ──► nothing
//    │
//    └─────► other than at the last look, or too soon after the last change ──► the next look
//    └─────► read the ring ──► PUT /status if it changes ──► log; Event, if it is a new reason for False
//
// Where webhook configurations are not watched, the answers to applies show them. Somebody may have changed one since,
// so it is read again before False is reported, and every kReadEvery for as long as it is.
//
// A configuration that somebody changes again and again costs a write in half a minute and one Event for each reason,
// until it was right for a sync period. Lives on the control loop.
class ReachabilityReporter {
 public:
  static constexpr std::chrono::seconds kEvery{5};
  static constexpr std::chrono::seconds kReadEvery{30};
  // Between two changes of a condition that follow each other soon. With two looks this is still less than a minute.
  static constexpr BackoffPolicy kPauses{.initial = std::chrono::seconds(5), .max = std::chrono::seconds(40)};

  // Everything given outlives it.
  ReachabilityReporter(std::shared_ptr<Tools> tools, const Published<ring::Snapshot>& snapshots, TrustCheck check);
  ~ReachabilityReporter() { lead(false); }
  ReachabilityReporter(const ReachabilityReporter&) = delete;
  ReachabilityReporter& operator=(const ReachabilityReporter&) = delete;

  // Forgets everything that it knew.
  void lead(bool leading);
  // The watch shows a ring's webhook configuration (JSON) as it stands in the cluster; "": it does not exist. From now
  // on the watch alone is believed.
  void configuration_seen(const std::string& ring, std::string_view document);
  // So an apply was answered.
  void configuration_applied(const std::string& ring, std::string_view document);
  // The watch has shown all: those that were not seen do not exist.
  void watch_complete() { is_watched_ = is_complete_ = true; }
  void watch_given_up() { is_watched_ = is_complete_ = false; }
  void ring_removed(const std::string& ring);

  // What the status of the ring with this uid says, for Outcome::webhook_reachable; nullopt: not known.
  std::optional<Condition> reported(const std::string& ring, const std::string& uid) const;

 private:
  struct Work {
    std::optional<std::optional<WebhookCall>> call;  // nullopt: not seen; nullopt in it: it does not exist
    std::optional<Condition> found;                  // at the last look
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
  // What is being written.
  struct Report {
    std::string ring, uid;
    std::int64_t generation = 0;
    Condition condition;
    int conflicts = 0;
  };
  using Step = void (ReachabilityReporter::*)(Report, Result<kube::Response>);

  void look();
  void consider(const ring::RingStatus& ring, Work& work, const TrustCheck& check);
  bool is_reported(const ring::RingStatus& ring, const Work& work) const;
  void know(const std::string& ring, std::string_view document);
  void send(kube::Request request, Report report, Step then);
  void configuration_read(Report report, Result<kube::Response> answer);
  void read(Report report);
  void ring_read(Report report, Result<kube::Response> answer);
  void written(Report report, Result<kube::Response> answer);
  void done(const Report& report, bool changed);
  void announce(const Report& report, Work& work);
  // null when the ring has gone, also if there is another one of the same name.
  Work* work_of(const Report& report);
  void failed(const Report& report, const Error& error);

  const std::shared_ptr<Tools> tools_;
  const Published<ring::Snapshot>& snapshots_;
  const TrustCheck check_;
  std::map<std::string, Work> works_;
  bool is_watched_ = false;   // the watch has shown something, so it knows more than the answers to applies
  bool is_complete_ = false;  // and has shown all
  kube::LastingFailure failure_;
  std::shared_ptr<std::atomic<bool>> leading_;  // read on the API loop, before a request is sent
  std::unique_ptr<Lifetime> term_;              // answers that come after its end are ignored
  Timer timer_;
};

}  // namespace sharder::controllerring
