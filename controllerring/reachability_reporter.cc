#include "controllerring/reachability_reporter.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "controllerring/webhook_configuration.h"
#include "ring/names.h"

namespace sharder::controllerring {

ReachabilityReporter::ReachabilityReporter(std::shared_ptr<Tools> tools, const Published<ring::Snapshot>& snapshots,
                                           TrustCheck check)
    : tools_(std::move(tools)),
      snapshots_(snapshots),
      check_(std::move(check)),
      conditions_(tools_, {.type = ring::kWebhookReachable,
                           .event = "WebhookNotReachable",
                           .well = "webhook reachable",
                           .trouble = "webhook not reachable",
                           .failure = "cannot report whether the webhook is reachable"}),
      timer_(tools_->control) {}

void ReachabilityReporter::lead(bool leading) {
  is_leading_ = leading;
  calls_.clear();
  watch_given_up();
  timer_.cancel();
  conditions_.lead(leading);
  if (leading) {
    timer_.set(kEvery, [this] { look(); });
  }
}

void ReachabilityReporter::configuration_seen(const std::string& ring, std::string_view document) {
  is_watched_ = true;
  know(ring, document);
}

void ReachabilityReporter::configuration_applied(const std::string& ring, std::string_view document) {
  if (!is_watched_) {
    know(ring, document);
  }
}

void ReachabilityReporter::know(const std::string& ring, std::string_view document) {
  const auto snapshot = snapshots_.get();
  const bool has_ring = snapshot && snapshot->find(ring) != nullptr;
  if (document.empty() && !has_ring) {
    ring_removed(ring);
  } else if (is_leading_) {
    calls_[ring] = webhook_call(document);
  }
}

void ReachabilityReporter::ring_removed(const std::string& ring) {
  calls_.erase(ring);
  conditions_.ring_removed(ring);
}

void ReachabilityReporter::look() {
  timer_.set(kEvery, [this] { look(); });
  const auto snapshot = snapshots_.get();
  if (!snapshot) {
    return;
  }
  // Most rings have the same caBundle and host.
  std::map<std::pair<std::string, std::string>, std::optional<Condition>> checked;
  const TrustCheck check = [&](const std::string& roots_pem, const std::string& host) {
    const auto [known, is_new] = checked.try_emplace({roots_pem, host});
    if (is_new) {
      known->second = check_(roots_pem, host);
    }
    return known->second;
  };
  for (const auto& [name, ring] : snapshot->rings) {
    const auto call = calls_.find(name);
    if (!ring->deleting && (call != calls_.end() || is_complete_)) {
      consider(*ring, call == calls_.end() ? std::nullopt : call->second, check);
    }
  }
}

void ReachabilityReporter::consider(const ring::RingStatus& ring, const std::optional<WebhookCall>& call,
                                    const TrustCheck& check) {
  const Condition found = webhook_reachable(ring.spec.name, call, check);
  const bool is_read = found.status == "False" && !is_watched_;
  const auto sync = tools_->options.sync_period;
  auto report =
      conditions_.consider(ring, found, is_read ? std::min<std::chrono::nanoseconds>(kReadEvery, sync) : sync);
  if (!report) {
    return;
  }
  if (is_read) {
    kube::Request request = read_by_patch(webhook_configuration_name(report->ring));
    conditions_.send(std::move(request), [this, report = *std::move(report)](const Result<kube::Response>& answer) {
      configuration_read(report, answer);
    });
  } else {
    conditions_.write(*std::move(report));
  }
}

void ReachabilityReporter::configuration_read(const Report& report, const Result<kube::Response>& answer) {
  if (!answer && answer.error().code != ErrorCode::kNotFound) {
    conditions_.failed(report, answer.error());
    return;
  }
  if (conditions_.is_wanted(report)) {
    configuration_applied(report.ring, answer ? answer->body : "");
  }
  const auto call = calls_.find(report.ring);
  if (call != calls_.end() && conditions_.is_wanted(report) &&
      webhook_reachable(report.ring, call->second, check_) == report.condition) {
    conditions_.write(report);
  } else {
    conditions_.withdraw(report);
  }
}

}  // namespace sharder::controllerring
