#include "controllerring/reachability_reporter.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "controllerring/webhook_configuration.h"
#include "kube/client/resource.h"
#include "kube/codec/json.h"
#include "ring/names.h"

namespace sharder::controllerring {

namespace {

constexpr std::string_view kEvent = "WebhookNotReachable";
constexpr int kMaxConflicts = 3;

}  // namespace

ReachabilityReporter::ReachabilityReporter(std::shared_ptr<Tools> tools, const Published<ring::Snapshot>& snapshots,
                                           TrustCheck check)
    : tools_(std::move(tools)), snapshots_(snapshots), check_(std::move(check)), timer_(tools_->control) {}

void ReachabilityReporter::lead(bool leading) {
  works_.clear();
  watch_given_up();
  timer_.cancel();
  if (leading_) {
    *leading_ = false;
  }
  leading_ = leading ? std::make_shared<std::atomic<bool>>(true) : nullptr;
  term_ = leading ? std::make_unique<Lifetime>() : nullptr;
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
    works_.erase(ring);
  } else if (leading_) {
    works_[ring].call = webhook_call(document);
  }
}

void ReachabilityReporter::ring_removed(const std::string& ring) {
  works_.erase(ring);
}

std::optional<Condition> ReachabilityReporter::reported(const std::string& ring, const std::string& uid) const {
  const auto found = works_.find(ring);
  return found == works_.end() || found->second.uid != uid ? std::nullopt : found->second.reported;
}

ReachabilityReporter::Work* ReachabilityReporter::work_of(const Report& report) {
  const auto found = works_.find(report.ring);
  return found == works_.end() || found->second.writing != report.uid ? nullptr : &found->second;
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
    Work& work = works_[name];
    if (!ring->deleting && (work.call || is_complete_)) {
      consider(*ring, work, check);
    }
  }
}

void ReachabilityReporter::consider(const ring::RingStatus& ring, Work& work, const TrustCheck& check) {
  const SteadyTime now = tools_->clock.steady();
  const auto sync = tools_->options.sync_period;
  Condition found = webhook_reachable(ring.spec.name, work.call.value_or(std::nullopt), check);
  const bool is_stable = std::exchange(work.found, found) == found;
  const bool lasts = work.reported == found && now - work.changed_at >= sync;
  if (lasts) {
    work.change_pauses.reset();
  }
  if (lasts && found.status == "True") {
    work.recorded.clear();
  }
  if (!is_stable || !work.writing.empty() || now < work.not_before || is_reported(ring, work)) {
    return;
  }
  work.writing = ring.spec.uid;
  Report report{
      .ring = ring.spec.name, .uid = ring.spec.uid, .generation = ring.spec.generation, .condition = std::move(found)};
  if (report.condition.status == "False" && !is_watched_) {
    kube::Request request = read_by_patch(webhook_configuration_name(report.ring));
    send(std::move(request), std::move(report), &ReachabilityReporter::configuration_read);
  } else {
    read(std::move(report));
  }
}

void ReachabilityReporter::configuration_read(Report report, Result<kube::Response> answer) {
  if (!answer && answer.error().code != ErrorCode::kNotFound) {
    failed(report, answer.error());
    return;
  }
  if (work_of(report) != nullptr) {
    configuration_applied(report.ring, answer ? answer->body : "");
  }
  Work* const work = work_of(report);
  if (work == nullptr) {
    return;
  }
  if (webhook_reachable(report.ring, work->call.value_or(std::nullopt), check_) == report.condition) {
    read(std::move(report));
  } else {
    work->writing.clear();  // the next two looks report what it is
  }
}

// Somebody may have taken the condition away, so the ring is read from time to time.
bool ReachabilityReporter::is_reported(const ring::RingStatus& ring, const Work& work) const {
  const auto sync = tools_->options.sync_period;
  const bool is_read = work.found->status == "False" && !is_watched_;
  const auto period = is_read ? std::min<std::chrono::nanoseconds>(kReadEvery, sync) : sync;
  return work.reported == work.found && work.uid == ring.spec.uid && work.generation == ring.spec.generation &&
         tools_->clock.steady() - work.reported_at < period;
}

void ReachabilityReporter::send(kube::Request request, Report report, Step then) {
  request.still_wanted = [leading = leading_] { return leading->load(); };
  tools_->api.send(
      std::move(request),
      [post = term_->bind_on(tools_->control,
                             [this, then, report = std::move(report)](Result<kube::Response> answer) {
                               (this->*then)(report, std::move(answer));
                             }),
       ticket = tools_->leader_work.enter()](Result<kube::Response> answer) mutable { post(std::move(answer)); });
}

void ReachabilityReporter::read(Report report) {
  kube::Request request = kube::get_request(kube::kControllerRings, "", report.ring);
  send(std::move(request), std::move(report), &ReachabilityReporter::ring_read);
}

void ReachabilityReporter::ring_read(Report report, Result<kube::Response> answer) {
  if (!answer) {
    failed(report, answer.error());
    return;
  }
  const auto object = kube::parse_json(answer->body);
  if (object && kube::string_at(*object, "/metadata/uid") != report.uid) {
    if (Work* const work = work_of(report)) {
      work->writing.clear();  // there is another ring of the same name: the watch is about to show it
    }
    return;
  }
  auto body =
      condition_body(answer->body, ring::kWebhookReachable, report.condition, report.generation, tools_->clock.wall());
  if (!body) {
    failed(report, body.error());
  } else if (!*body) {
    done(report, false);
  } else {
    kube::Request request =
        kube::update_request(kube::kControllerRings, "", report.ring, "status", **body, kFieldManager);
    send(std::move(request), std::move(report), &ReachabilityReporter::written);
  }
}

void ReachabilityReporter::written(Report report, Result<kube::Response> answer) {
  if (answer) {
    done(report, true);
  } else if (answer.error().code == ErrorCode::kConflict && ++report.conflicts <= kMaxConflicts) {
    read(std::move(report));
  } else {
    failed(report, answer.error());
  }
}

void ReachabilityReporter::done(const Report& report, bool changed) {
  const SteadyTime now = tools_->clock.steady();
  failure_.succeeded(now);
  Work* const found = work_of(report);
  if (found == nullptr) {
    return;
  }
  Work& work = *found;
  work.failure_pauses.reset();
  work.writing.clear();
  const bool is_news = changed && work.reported != report.condition;
  if (!work.reported || work.reported->status != report.condition.status) {
    work.changed_at = now;
  }
  work.reported = report.condition;
  work.uid = report.uid;
  work.generation = report.generation;
  work.reported_at = now;
  if (is_news) {
    work.not_before = now + work.change_pauses.next();
    announce(report, work);
  }
}

void ReachabilityReporter::announce(const Report& report, Work& work) {
  const Condition& condition = report.condition;
  if (condition.status != "False") {
    tools_->log.info("webhook reachable",
                     {{"ring", report.ring}, {"status", condition.status}, {"reason", condition.reason}});
    return;
  }
  tools_->log.warn("webhook not reachable",
                   {{"ring", report.ring}, {"reason", condition.reason}, {"error", condition.message}});
  if (work.recorded.insert(condition.reason).second) {
    tools_->events.record(kube::reference_to(kube::kControllerRings, report.ring, report.uid),
                          kube::EventType::kWarning, kEvent, condition.message);
  }
}

// A ring that is gone needs no condition; the watch is about to show it.
void ReachabilityReporter::failed(const Report& report, const Error& error) {
  const SteadyTime now = tools_->clock.steady();
  if (Work* const work = work_of(report)) {
    work->writing.clear();
    work->not_before = now + work->failure_pauses.next();
  }
  if (error.code != ErrorCode::kNotFound && error.code != ErrorCode::kConflict && failure_.failed(error, now)) {
    tools_->log.warn("cannot report whether the webhook is reachable",
                     {{"ring", report.ring}, {"error", error.message}});
  }
}

}  // namespace sharder::controllerring
