#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/guarded.h"
#include "base/timer.h"
#include "controllerring/condition_reporter.h"
#include "controllerring/reachability.h"
#include "controllerring/reconciliation.h"
#include "ring/snapshot.h"

namespace sharder::controllerring {

// The leader's part for the condition WebhookReachable (protocol, 5): every kEvery it compares the caBundle of each
// ring's webhook configuration with the certificate that this replica shows, so that it notices a change of either and
// the time at which a certificate expires. ConditionReporter writes the result.
//
// Where webhook configurations are not watched, the answers to applies show them. Somebody may have changed one since,
// so it is read again before False is reported, and every kReadEvery for as long as it is. Lives on the control loop.
class ReachabilityReporter {
 public:
  static constexpr std::chrono::seconds kEvery{5};
  static constexpr std::chrono::seconds kReadEvery{30};

  // Everything given outlives it.
  ReachabilityReporter(std::shared_ptr<Tools> tools, const Published<ring::Snapshot>& snapshots, TrustCheck check);

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

  // As ConditionReporter::reported().
  std::optional<Condition> reported(const std::string& ring, const std::string& uid) const {
    return conditions_.reported(ring, uid);
  }

 private:
  using Report = ConditionReporter::Report;

  void look();
  void consider(const ring::RingStatus& ring, const std::optional<WebhookCall>& call, const TrustCheck& check);
  void know(const std::string& ring, std::string_view document);
  void configuration_read(const Report& report, const Result<kube::Response>& answer);

  const std::shared_ptr<Tools> tools_;
  const Published<ring::Snapshot>& snapshots_;
  const TrustCheck check_;
  std::map<std::string, std::optional<WebhookCall>> calls_;  // by ring, what was seen; nullopt: it does not exist
  bool is_leading_ = false;
  bool is_watched_ = false;   // the watch has shown something, so it knows more than the answers to applies
  bool is_complete_ = false;  // and has shown all
  ConditionReporter conditions_;
  Timer timer_;
};

}  // namespace sharder::controllerring
