#include "controllerring/condition_reporter.h"

#include <utility>

#include "kube/client/resource.h"
#include "kube/codec/json.h"

namespace sharder::controllerring {

namespace {

constexpr int kMaxConflicts = 3;

}  // namespace

void ConditionReporter::lead(bool leading) {
  works_.clear();
  if (leading_) {
    *leading_ = false;
  }
  leading_ = leading ? std::make_shared<std::atomic<bool>>(true) : nullptr;
  term_ = leading ? std::make_unique<Lifetime>() : nullptr;
}

std::optional<Condition> ConditionReporter::reported(const std::string& ring, const std::string& uid) const {
  const auto found = works_.find(ring);
  return found == works_.end() || found->second.uid != uid ? std::nullopt : found->second.reported;
}

ConditionReporter::Work* ConditionReporter::work_of(const Report& report) {
  const auto found = works_.find(report.ring);
  return found == works_.end() || found->second.writing != report.uid ? nullptr : &found->second;
}

std::optional<ConditionReporter::Report> ConditionReporter::consider(const ring::RingStatus& ring,
                                                                     const Condition& found,
                                                                     std::chrono::nanoseconds read_again) {
  const SteadyTime now = tools_->clock.steady();
  Work& work = works_[ring.spec.name];
  const bool is_stable = work.found == found;
  work.found = found;
  const bool lasts = work.reported == found && now - work.changed_at >= tools_->options.sync_period;
  if (lasts) {
    work.change_pauses.reset();
  }
  if (lasts && found.status == "True") {
    work.recorded.clear();
  }
  const bool is_reported = work.reported == found && work.uid == ring.spec.uid &&
                           work.generation == ring.spec.generation && now - work.reported_at < read_again;
  if (!is_stable || !work.writing.empty() || now < work.not_before || is_reported) {
    return std::nullopt;
  }
  work.writing = ring.spec.uid;
  return Report{.ring = ring.spec.name, .uid = ring.spec.uid, .generation = ring.spec.generation, .condition = found};
}

void ConditionReporter::withdraw(const Report& report) {
  if (Work* const work = work_of(report)) {
    work->writing.clear();
  }
}

void ConditionReporter::send(kube::Request request, std::function<void(Result<kube::Response>)> then) {
  request.still_wanted = [leading = leading_] { return leading->load(); };
  tools_->api.send(std::move(request),
                   [post = term_->bind_on(tools_->control, std::move(then)), ticket = tools_->leader_work.enter()](
                       Result<kube::Response> answer) mutable { post(std::move(answer)); });
}

void ConditionReporter::write(Report report) {
  kube::Request request = kube::get_request(kube::kControllerRings, "", report.ring);
  send(std::move(request),
       [this, report = std::move(report)](const Result<kube::Response>& answer) { ring_read(report, answer); });
}

void ConditionReporter::ring_read(Report report, const Result<kube::Response>& answer) {
  if (!answer) {
    failed(report, answer.error());
    return;
  }
  const auto object = kube::parse_json(answer->body);
  if (object && kube::string_at(*object, "/metadata/uid") != report.uid) {
    withdraw(report);  // there is another ring of the same name: the watch is about to show it
    return;
  }
  auto body = condition_body(answer->body, kind_.type, report.condition, report.generation, tools_->clock.wall());
  if (!body) {
    failed(report, body.error());
  } else if (!*body) {
    done(report, false);
  } else {
    kube::Request request =
        kube::update_request(kube::kControllerRings, "", report.ring, "status", **body, kFieldManager);
    send(std::move(request),
         [this, report = std::move(report)](const Result<kube::Response>& put) { written(report, put); });
  }
}

void ConditionReporter::written(Report report, const Result<kube::Response>& answer) {
  if (answer) {
    done(report, true);
  } else if (answer.error().code == ErrorCode::kConflict && ++report.conflicts <= kMaxConflicts) {
    write(std::move(report));
  } else {
    failed(report, answer.error());
  }
}

void ConditionReporter::done(const Report& report, bool changed) {
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

void ConditionReporter::announce(const Report& report, Work& work) {
  const Condition& condition = report.condition;
  if (condition.status != "False") {
    tools_->log.info(std::string(kind_.well),
                     {{"ring", report.ring}, {"status", condition.status}, {"reason", condition.reason}});
    return;
  }
  tools_->log.warn(std::string(kind_.trouble),
                   {{"ring", report.ring}, {"reason", condition.reason}, {"error", condition.message}});
  if (work.recorded.insert(condition.reason).second) {
    tools_->events.record(kube::reference_to(kube::kControllerRings, report.ring, report.uid),
                          kube::EventType::kWarning, kind_.event, condition.message);
  }
}

// A ring that is gone needs no condition; the watch is about to show it.
void ConditionReporter::failed(const Report& report, const Error& error) {
  const SteadyTime now = tools_->clock.steady();
  if (Work* const work = work_of(report)) {
    work->writing.clear();
    work->not_before = now + work->failure_pauses.next();
  }
  if (error.code != ErrorCode::kNotFound && error.code != ErrorCode::kConflict && failure_.failed(error, now)) {
    tools_->log.warn(std::string(kind_.failure), {{"ring", report.ring}, {"error", error.message}});
  }
}

}  // namespace sharder::controllerring
