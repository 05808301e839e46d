#include "kube/election/election_state.h"

#include <algorithm>
#include <utility>

#include "base/rfc3339.h"
#include "kube/client/failure_class.h"
#include "kube/client/resource.h"
#include "kube/codec/json.h"

namespace sharder::kube {

using namespace std::chrono_literals;

namespace {

// A write takes effect within a minute, the API server's own timeout. We send about one a second at most.
constexpr std::size_t kRememberedWrites = 64;

// After a Lease was acquired, to look for seen_label. The later pauses are half of the time that has passed.
constexpr std::chrono::nanoseconds kFirstLook = 200ms;

// What `labels` does not name stays as it is: the sharder's state label, above all.
void add_labels(nlohmann::json& metadata, const std::map<std::string, std::string>& labels) {
  if (labels.empty()) {
    return;
  }
  nlohmann::json& carried = metadata["labels"];
  if (!carried.is_object()) {
    carried = nlohmann::json::object();
  }
  for (const auto& [key, value] : labels) {
    carried[key] = value;
  }
}

void remove_label(nlohmann::json& metadata, const std::string& label) {
  if (const auto labels = metadata.find("labels"); labels != metadata.end() && labels->is_object()) {
    labels->erase(label);
  }
}

}  // namespace

ElectionTime read_time(const Clock& clock) {
  // BOOTTIME first: what we hold is then measured from before the request.
  const BootTime boot = clock.boot();
  return {.wall = clock.wall(), .steady = clock.steady(), .boot = boot};
}

ElectionState::ElectionState(LeaderElectionOptions options, std::uint64_t seed)
    : options_(std::move(options)), random_(static_cast<std::minstd_rand::result_type>(seed)) {}

Request ElectionState::begin(const ElectionTime& now) {
  attempt_began_ = now.steady;
  if (now.boot < valid_until_ && lease_.is_object()) {
    optimistic_ = true;
    return acquire(now);
  }
  return read(now);
}

std::optional<Request> ElectionState::answer(const Result<Response>& result, const ElectionTime& now) {
  switch (std::exchange(step_, Step::kIdle)) {
    case Step::kReading:
      return on_read(result, now);
    case Step::kWriting:
      return on_written(result, now);
    case Step::kIdle:
      break;
  }
  return std::nullopt;
}

void ElectionState::abandon() {
  if (std::exchange(step_, Step::kIdle) == Step::kWriting) {
    lease_ = nullptr;  // only a read can show whether it is still as we know it
  }
}

std::chrono::nanoseconds ElectionState::next_attempt(const ElectionTime& now) {
  std::chrono::nanoseconds retry_period = options_.retry_period;
  // Who waits for seen_label renews more often at first, because it is usually set in a moment.
  if (holder_ == LeaseHolder::kSelf && was_taken_ && !options_.seen_label.empty() && seen_label().empty()) {
    retry_period = std::min(retry_period, std::max(kFirstLook, (now.steady - taken_at_) / 2));
  }
  // A little less, so that replicas that began together don't stay together.
  std::uniform_int_distribution<std::chrono::nanoseconds::rep> jitter(retry_period.count() * 9 / 10,
                                                                      retry_period.count());
  // Counted from the start of the last attempt, so that a slow API server does not make renewals rarer.
  const std::chrono::nanoseconds due = attempt_began_ + std::chrono::nanoseconds(jitter(random_)) - now.steady;
  std::chrono::nanoseconds wait = std::max(due, retry_period / 10);
  if (holder_ != LeaseHolder::kNobody && holder_ != LeaseHolder::kSelf) {
    // Not later than another's Lease expires: from then on nobody holds it.
    const std::chrono::nanoseconds left = observed_at_ + protection() - now.steady;
    if (left > 0ns) {
      wait = std::min(wait, left);
    }
  }
  return wait;
}

void ElectionState::step_down(const ElectionTime& now) {
  valid_until_ = std::min(valid_until_, now.boot);
}

Request ElectionState::begin_release(const ElectionTime& now) {
  return read(now);
}

std::optional<Request> ElectionState::release_answer(const Result<Response>& result, const ElectionTime& now) {
  const Step step = std::exchange(step_, Step::kIdle);
  if (step == Step::kWriting) {
    may_hold_ = !result;
    return !result && result.error().code == ErrorCode::kConflict ? std::optional(read(now)) : std::nullopt;
  }
  if (!result) {
    may_hold_ = result.error().code != ErrorCode::kNotFound;
    return std::nullopt;
  }
  if (!observe(result->body, now) || holder_ != LeaseHolder::kSelf) {
    may_hold_ = holder_ == LeaseHolder::kSelf;
    return std::nullopt;
  }
  // As client-go does it: held by nobody, for a second, since now.
  const std::string time = format_micro_time(now.wall);
  return write({{"holderIdentity", ""},
                {"leaseDurationSeconds", 1},
                {"acquireTime", time},
                {"renewTime", time},
                {"leaseTransitions", int_at(observed_spec_, "/leaseTransitions").value_or(0)}},
               now);
}

std::string ElectionState::seen_label() const {
  if (lease_.is_object()) {
    const nlohmann::json& metadata = lease_["metadata"];
    if (const auto labels = metadata.find("labels"); labels != metadata.end() && labels->is_object()) {
      const auto label = labels->find(options_.seen_label);
      return label != labels->end() && label->is_string() ? label->get<std::string>() : "";
    }
  }
  return "";
}

ObjectReference ElectionState::reference() const {
  return {.api_version = "coordination.k8s.io/v1",
          .kind = "Lease",
          .object_namespace = options_.lease_namespace,
          .name = options_.lease_name,
          .uid = observed_uid_,
          .resource_version = lease_.is_object() ? string_at(lease_, "/metadata/resourceVersion") : ""};
}

Request ElectionState::read(const ElectionTime& now) {
  step_ = Step::kReading;
  optimistic_ = false;
  Request request = get_request(kLeases, options_.lease_namespace, options_.lease_name);
  request.timeout = call_timeout(now);
  request.lane = Lane::kUrgent;
  return request;
}

// Makes the Lease ours, or renews it: by a PUT with the resourceVersion we know, or by a POST where there is no Lease.
Request ElectionState::acquire(const ElectionTime& now) {
  // After a write without an answer the record may be our own already.
  if (now.boot >= valid_until_ && holder_ != LeaseHolder::kSelf) {
    was_taken_ = holder_identity_ != options_.identity;
    taken_at_ = now.steady;
    if (was_taken_ && lease_.is_object()) {
      remove_label(lease_["metadata"], options_.seen_label);
    }
  }
  const std::string time = format_micro_time(now.wall);
  nlohmann::json spec{
      {"holderIdentity", options_.identity},
      // Rounded up: observers must not wait for less time than we rely on.
      {"leaseDurationSeconds", std::chrono::ceil<std::chrono::seconds>(options_.lease_duration).count()},
      {"acquireTime", time},
      {"renewTime", time},
      {"leaseTransitions", 0}};
  if (lease_.is_object()) {
    const std::int64_t transitions = int_at(observed_spec_, "/leaseTransitions").value_or(0);
    const bool same_identity = holder_identity_ == options_.identity;
    spec["leaseTransitions"] = transitions + (same_identity ? 0 : 1);
    if (const auto acquired = observed_spec_.find("acquireTime");
        same_identity && acquired != observed_spec_.end() && acquired->is_string()) {
      spec["acquireTime"] = *acquired;
    }
  }
  return write(std::move(spec), now);
}

Request ElectionState::write(nlohmann::json spec, const ElectionTime& now) {
  step_ = Step::kWriting;
  may_hold_ = true;
  write_began_ = now.boot;
  renew_times_.push_back(now.wall);
  if (renew_times_.size() > kRememberedWrites) {
    renew_times_.pop_front();
  }
  Request request;
  if (lease_.is_object()) {
    nlohmann::json lease = lease_;  // metadata stays as it is, labels of others included
    add_labels(lease["metadata"], options_.labels);
    lease["spec"] = std::move(spec);
    request = update_request(kLeases, options_.lease_namespace, options_.lease_name, {},
                             VersionedObject::of(lease).value(), {});  // observe() accepts no Lease without one
  } else {
    nlohmann::json lease{{"apiVersion", "coordination.k8s.io/v1"},
                         {"kind", "Lease"},
                         {"metadata", {{"name", options_.lease_name}, {"namespace", options_.lease_namespace}}},
                         {"spec", std::move(spec)}};
    add_labels(lease["metadata"], options_.labels);
    request = create_request(kLeases, options_.lease_namespace, lease.dump(), {});
  }
  request.timeout = call_timeout(now);
  request.lane = Lane::kUrgent;
  return request;
}

// Half of renew_deadline, so that a call that hangs leaves time for another; never beyond our time as holder.
std::chrono::milliseconds ElectionState::call_timeout(const ElectionTime& now) const {
  auto timeout = options_.renew_deadline / 2;
  if (now.boot < valid_until_) {
    timeout = std::min(timeout, std::chrono::ceil<std::chrono::milliseconds>(valid_until_ - now.boot));
  }
  return std::max(timeout, 1ms);
}

std::optional<Request> ElectionState::on_read(const Result<Response>& result, const ElectionTime& now) {
  if (!result) {
    if (result.error().code != ErrorCode::kNotFound) {
      return std::nullopt;
    }
    lease_ = nullptr;
    holder_ = LeaseHolder::kNobody;
    holder_identity_.clear();
    observed_at_ = now.steady;
    may_hold_ = false;
    if (!options_.unique_identity && now.boot < valid_until_) {
      step_down(now);  // somebody has deleted it, and what it stood for is given to others
      return std::nullopt;
    }
    return acquire(now);
  }
  if (!observe(result->body, now)) {
    return std::nullopt;
  }
  may_hold_ = holder_ == LeaseHolder::kSelf;
  if (may_hold_) {
    return acquire(now);
  }
  step_down(now);  // another holds it, or held it
  if (holder_ != LeaseHolder::kNobody && now.steady < observed_at_ + protection()) {
    return std::nullopt;
  }
  return acquire(now);
}

std::optional<Request> ElectionState::on_written(const Result<Response>& result, const ElectionTime& now) {
  if (result) {
    valid_until_ = write_began_ + options_.renew_deadline;
    if (!observe(result->body, now) || holder_ != LeaseHolder::kSelf) {
      lease_ = nullptr;  // it is ours, but its resourceVersion is not known: read it before the next renewal
      holder_ = LeaseHolder::kSelf;
      holder_identity_ = options_.identity;
    }
    return std::nullopt;
  }
  const ErrorCode code = result.error().code;
  if (!may_be_done(result.error())) {
    may_hold_ = holder_ == LeaseHolder::kSelf;
  }
  const bool is_stale = code == ErrorCode::kConflict || code == ErrorCode::kNotFound || code == ErrorCode::kExists;
  lease_ = nullptr;
  // Only after a write that was not preceded by a read: else two candidates would chase each other.
  return optimistic_ && is_stale ? std::optional(read(now)) : std::nullopt;
}

Result<void> ElectionState::observe(std::string_view body, const ElectionTime& now) {
  auto seen = remember(body, now);
  unreadable_ = seen ? std::nullopt : std::optional(seen.error());
  return seen;
}

// Remembers a Lease as the API server showed it.
Result<void> ElectionState::remember(std::string_view body, const ElectionTime& now) {
  auto lease = parse_json(body);
  if (!lease) {
    return std::unexpected(lease.error());
  }
  const auto metadata = lease->find("metadata");
  if (metadata == lease->end() || !metadata->is_object() || string_at(*lease, "/metadata/resourceVersion").empty()) {
    return fail(ErrorCode::kInvalid, "not a Lease");
  }
  metadata->erase("managedFields");  // absent in a PUT: the API server keeps its own
  const auto found = lease->find("spec");
  nlohmann::json spec = found != lease->end() && found->is_object() ? *found : nlohmann::json::object();
  std::string uid = string_at(*lease, "/metadata/uid");
  if (spec != observed_spec_ || uid != observed_uid_ || observed_at_ == SteadyTime::min()) {
    observed_spec_ = std::move(spec);
    observed_uid_ = std::move(uid);
    is_first_record_ = observed_at_ == SteadyTime::min();
    observed_at_ = now.steady;
  }
  lease_ = *std::move(lease);
  holder_identity_ = string_at(observed_spec_, "/holderIdentity");
  holder_ = observed_holder();
  return {};
}

LeaseHolder ElectionState::observed_holder() const {
  if (holder_identity_.empty()) {
    return LeaseHolder::kNobody;
  }
  if (holder_identity_ != options_.identity) {
    return LeaseHolder::kOther;
  }
  const auto renewed = parse_rfc3339(string_at(observed_spec_, "/renewTime"));
  if (options_.unique_identity || (renewed && std::ranges::find(renew_times_, *renewed) != renew_times_.end())) {
    return LeaseHolder::kSelf;
  }
  return is_first_record_ ? LeaseHolder::kEarlier : LeaseHolder::kTwin;
}

// How long the record that was seen protects its holder.
std::chrono::nanoseconds ElectionState::protection() const {
  const std::int64_t seconds = int_at(observed_spec_, "/leaseDurationSeconds").value_or(0);
  // A value that makes no sense does not free the lease at once, and cannot overflow.
  constexpr std::int64_t kMost = std::int64_t{365} * 24 * 3600;
  const std::chrono::nanoseconds recorded =
      seconds > 0 ? std::chrono::seconds(std::min(seconds, kMost)) : std::chrono::nanoseconds(options_.lease_duration);
  return holder_ == LeaseHolder::kEarlier ? std::min<std::chrono::nanoseconds>(recorded, 2 * options_.retry_period)
                                          : recorded;
}

}  // namespace sharder::kube
