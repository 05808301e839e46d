#include "tests/unit/membership/simulation.h"

#include <iomanip>
#include <stdexcept>
#include <utility>

#include "base/rfc3339.h"
#include "ring/names.h"

namespace sharder::testing {

using membership::Action;
using membership::ActionAnswer;
using membership::ActionKind;
using membership::ChangeKind;
using membership::LeaseId;
using nlohmann::json;

namespace {

constexpr std::chrono::seconds kRenewalPeriod{2};
constexpr std::chrono::seconds kActionTimeout{5};

Simulation::Duration parse_duration(const std::string& text) {
  std::size_t end = 0;
  const double value = std::stod(text, &end);
  const std::string unit = text.substr(end);
  if (unit != "s" && unit != "m") {
    throw std::runtime_error("no duration: " + text);
  }
  return Simulation::Duration(static_cast<std::int64_t>(value * (unit == "m" ? 60'000 : 1000)));
}

LeaseId parse_id(const std::string& text) {
  const auto slash = text.find('/');
  return slash == std::string::npos ? LeaseId{"default", text} : LeaseId{text.substr(0, slash), text.substr(slash + 1)};
}

std::string_view name_of(ActionKind kind) {
  switch (kind) {
    case ActionKind::kSetLabel:
      return "set-label";
    case ActionKind::kRead:
      return "read";
    case ActionKind::kTakeOver:
      return "take-over";
    case ActionKind::kDelete:
      return "delete";
    case ActionKind::kRecordInvalidName:
      return "reject-name";
  }
  return "?";
}

std::string_view name_of(ChangeKind kind) {
  switch (kind) {
    case ChangeKind::kRingAdded:
      return "ring added";
    case ChangeKind::kRingChanged:
      return "ring changed";
    case ChangeKind::kRingRemoved:
      return "ring removed";
    case ChangeKind::kShardsChanged:
      return "shards changed";
    case ChangeKind::kRebalanceRequested:
      return "rebalance requested";
  }
  return "?";
}

std::string shorten(const std::string& name) {
  return name.size() <= 24 ? name : name.substr(0, 21) + "...";
}

}  // namespace

std::ostream& Simulation::line() {
  return log_ << std::fixed << std::setprecision(1) << static_cast<double>(time_.count()) / 1000.0 << "s ";
}

std::string Simulation::take_log() {
  std::string text = log_.str();
  log_.str("");
  return text;
}

membership::Now Simulation::now(const Replica& replica) const {
  return {.wall = wall() + replica.ahead, .steady = SteadyTime(std::chrono::hours(1)) + time_};
}

void Simulation::command(const std::string& text) {
  std::istringstream in(text);
  std::string verb;
  std::string name;
  in >> verb >> name;
  Arguments arguments;
  for (std::string word; in >> word;) {
    const auto equals = word.find('=');
    arguments[word.substr(0, equals)] = equals == std::string::npos ? "" : word.substr(equals + 1);
  }
  if (verb == "ring") {
    auto& ring = rings_[name];
    ring.spec.name = name;
    ++ring.spec.generation;
    ring.grace_period =
        arguments.contains("grace") ? parse_duration(arguments.at("grace")) : std::chrono::nanoseconds(0);
    for (auto& [_, replica] : replicas_) {
      replica.ledger->ring_shown(ring);
    }
  } else if (verb == "delete-ring") {
    rings_.erase(name);
    for (auto& [_, replica] : replicas_) {
      replica.ledger->ring_gone(name);
    }
  } else if (verb == "replica") {
    start_replica(name, arguments);
  } else if (verb == "lead" || verb == "follow") {
    replicas_.at(name).ledger->set_leading(verb == "lead");
  } else if (verb == "stop-replica") {
    replicas_.erase(name);
  } else if (verb == "lag") {
    replicas_.at(name).lag = parse_duration(arguments.begin()->first);
  } else if (verb == "watch") {
    set_watching(replicas_.at(name), !arguments.contains("off"));
  } else if (verb == "shard") {
    start_shard(name, arguments);
  } else if (verb == "crash") {
    shards_.at(name).running = false;
  } else if (verb == "exit") {
    exit_shard(name);
  } else if (verb == "lease") {
    put_lease(name, arguments);
  } else if (verb == "cordon" || verb == "uncordon") {
    cordon(parse_id(name), verb == "cordon");
  } else if (verb == "delete-lease") {
    erase(parse_id(name));
  } else if (verb == "api") {
    pause(name == "pause");
  } else if (verb == "writes") {
    writes_fail_ = name == "ok" ? std::nullopt : std::optional(name);
  } else if (verb == "run") {
    run(parse_duration(name));
  } else if (verb == "show") {
    show(name);
  } else {
    throw std::runtime_error("no such command: " + text);
  }
  for (auto& [_, replica] : replicas_) {
    settle(replica);
  }
}

void Simulation::start_replica(const std::string& name, const Arguments& arguments) {
  Replica& replica = replicas_[name];
  replica.name = name;
  replica.ledger = std::make_unique<membership::Ledger>(1);
  if (arguments.contains("ahead")) {
    replica.ahead = parse_duration(arguments.at("ahead"));
  }
  replica.next_probe = time_;
  replica.ledger->list_rings();
  for (const auto& [_, ring] : rings_) {
    replica.ledger->ring_shown(ring);
  }
  settle(replica);  // nothing comes out yet
  replica.ledger->rings_listed();
  settle(replica);
  set_watching(replica, true);
  replica.ledger->set_leading(arguments.contains("leader"));
}

void Simulation::list(Replica& replica) {
  replica.events.clear();
  replica.ledger->list_leases();
  for (const auto& [id, object] : leases_) {
    replica.ledger->lease_shown(*membership::decode_shard_lease(object.json.dump()), now(replica));
  }
  replica.ledger->leases_listed();
}

void Simulation::set_watching(Replica& replica, bool watching) {
  replica.watching = watching;
  if (watching) {
    list(replica);
    replica.ledger->lease_watch_opened();
  } else {
    replica.events.clear();
    replica.ledger->lease_watch_lost();
  }
}

void Simulation::start_shard(const std::string& name, const Arguments& arguments) {
  Shard& shard = shards_[name];
  shard.id = parse_id(name);
  shard.ring = arguments.contains("ring") ? arguments.at("ring") : "r";
  if (arguments.contains("duration")) {
    shard.duration = std::chrono::duration_cast<std::chrono::seconds>(parse_duration(arguments.at("duration")));
  }
  shard.running = true;
  shard.next_renewal = time_ + kRenewalPeriod;
  const auto existing = leases_.find(shard.id);
  json object = existing == leases_.end() ? json::object() : existing->second.json;
  object["metadata"]["labels"][std::string(ring::kRingLabel)] = shard.ring;
  const std::int64_t transitions =
      existing == leases_.end() ? 0 : object["spec"].value("leaseTransitions", std::int64_t{0}) + 1;
  object["spec"] = {{"holderIdentity", shard.id.name},
                    {"leaseDurationSeconds", shard.duration.count()},
                    {"acquireTime", format_micro_time(wall())},
                    {"renewTime", format_micro_time(wall())},
                    {"leaseTransitions", transitions}};
  put(shard.id, std::move(object));
}

void Simulation::put_lease(const std::string& name, const Arguments& arguments) {
  json object;
  object["metadata"]["labels"][std::string(ring::kRingLabel)] = arguments.contains("ring") ? arguments.at("ring") : "r";
  json& spec = object["spec"] = json::object();
  for (const auto& [key, value] : arguments) {
    if (key == "spec") {
      object["spec"] = json::parse(value);
    } else if (key != "ring") {
      spec[key] = json::accept(value) ? json::parse(value) : json(value);
    }
  }
  const LeaseId id = parse_id(name);
  put(id, std::move(object));
}

void Simulation::exit_shard(const std::string& name) {
  Shard& shard = shards_.at(name);
  shard.running = false;
  json object = leases_.at(shard.id).json;
  object["spec"]["holderIdentity"] = "";  // as client-go releases a lease
  object["spec"]["leaseDurationSeconds"] = 1;
  object["spec"]["renewTime"] = object["spec"]["acquireTime"] = format_micro_time(wall());
  put(shard.id, std::move(object));
}

void Simulation::cordon(const LeaseId& id, bool cordoned) {
  json object = leases_.at(id).json;
  object["metadata"]["annotations"][std::string(ring::kCordonedAnnotation)] = cordoned ? "true" : "false";
  put(id, std::move(object));
}

void Simulation::show(const std::string& name) {
  const auto found = leases_.find(parse_id(name));
  if (found == leases_.end()) {
    line() << name << ": no lease\n";
    return;
  }
  const json& spec = found->second.json["spec"];
  line() << name << ": holder=" << spec.value("holderIdentity", "")
         << " duration=" << spec.value("leaseDurationSeconds", 0)
         << " transitions=" << spec.value("leaseTransitions", 0) << " renewed=" << spec.value("renewTime", "")
         << " state=" << found->second.json["metadata"]["labels"].value(std::string(ring::kStateLabel), "-") << "\n";
}

void Simulation::pause(bool paused) {
  paused_ = paused;
}

void Simulation::run(Duration time) {
  for (const Duration end = time_ + time; time_ < end;) {
    time_ += kStep;
    step();
  }
}

void Simulation::step() {
  if (!paused_) {
    for (auto& [_, shard] : shards_) {
      if (shard.running && shard.next_renewal <= time_) {
        renew(shard);
      }
    }
  }
  for (auto& [_, replica] : replicas_) {
    while (!paused_ && !replica.events.empty() && replica.events.front().at <= time_) {
      const WatchEvent event = std::move(replica.events.front());
      replica.events.pop_front();
      if (event.json) {
        replica.ledger->lease_shown(*membership::decode_shard_lease(*event.json), now(replica));
      } else {
        replica.ledger->lease_gone(event.id);
      }
    }
    if (!replica.probing && replica.next_probe <= time_) {
      if (const auto target = replica.ledger->probe_target()) {
        replica.probing = true;
        replica.requests.push_back({time_ + membership::HealthyTime::kProbeTimeout, std::nullopt, *target});
      } else {
        replica.next_probe = time_ + membership::HealthyTime::kProbePeriod;
      }
    }
    settle(replica);
  }
}

void Simulation::renew(Shard& shard) {
  shard.next_renewal = time_ + kRenewalPeriod;
  const auto found = leases_.find(shard.id);
  if (found == leases_.end() || found->second.json["spec"].value("holderIdentity", "") != shard.id.name) {
    line() << "shard " << shard.id.name << " lost its lease\n";
    shard.running = false;
    return;
  }
  if (writes_fail_) {
    return;
  }
  json object = found->second.json;
  object["spec"]["renewTime"] = format_micro_time(wall());
  put(shard.id, std::move(object));
}

void Simulation::put(const LeaseId& id, json object) {
  const auto known = leases_.find(id);
  object["metadata"]["namespace"] = id.lease_namespace;
  object["metadata"]["name"] = id.name;
  object["metadata"]["uid"] =
      known == leases_.end() ? json("uid-" + std::to_string(version_ + 1)) : known->second.json["metadata"]["uid"];
  object["metadata"]["resourceVersion"] = std::to_string(++version_);
  leases_[id] = {.json = object, .version = version_};
  for (auto& [_, replica] : replicas_) {
    if (replica.watching) {
      replica.events.push_back({time_ + replica.lag, id, object.dump()});
    }
  }
}

void Simulation::erase(const LeaseId& id) {
  leases_.erase(id);
  ++version_;
  for (auto& [_, replica] : replicas_) {
    if (replica.watching) {
      replica.events.push_back({time_ + replica.lag, id, std::nullopt});
    }
  }
}

// What the API server does with a request of a leader.
Result<ActionAnswer> Simulation::carry_out(const Action& action) {
  const auto found = leases_.find(action.lease);
  if (found == leases_.end()) {
    return fail(ErrorCode::kNotFound, "not found");
  }
  if (action.kind != ActionKind::kRead) {
    if (writes_fail_) {
      const bool is_forbidden = *writes_fail_ == "forbidden";
      return std::unexpected(Error{.code = is_forbidden ? ErrorCode::kForbidden : ErrorCode::kUnavailable,
                                   .message = *writes_fail_,
                                   .http_status = is_forbidden ? 403 : 503});
    }
    if (action.precondition != kube::Precondition::of(std::to_string(found->second.version)) ||
        action.uid != found->second.json["metadata"]["uid"].get<std::string>()) {
      return fail(ErrorCode::kConflict, "conflict");
    }
  }
  switch (action.kind) {
    case ActionKind::kSetLabel: {
      json object = found->second.json;
      object["metadata"]["labels"][std::string(ring::kStateLabel)] = to_string(action.state);
      put(action.lease, std::move(object));
      break;
    }
    case ActionKind::kTakeOver:
      put(action.lease, json::parse(action.body.value().text()));
      break;
    case ActionKind::kDelete:
      erase(action.lease);
      return ActionAnswer{};
    case ActionKind::kRead:
    case ActionKind::kRecordInvalidName:
      break;
  }
  std::string document = leases_.at(action.lease).json.dump();
  return ActionAnswer{.lease = *membership::decode_shard_lease(document), .document = std::move(document)};
}

// Answers the requests that wait, or lets them fail when their time is over.
void Simulation::serve(Replica& replica) {
  for (std::size_t left = replica.requests.size(); left > 0; --left) {
    Request request = std::move(replica.requests.front());
    replica.requests.pop_front();
    if (paused_ && time_ < request.until) {
      replica.requests.push_back(std::move(request));
      continue;
    }
    if (!request.action) {
      replica.probing = false;
      replica.next_probe = time_ + membership::HealthyTime::kProbePeriod;
      if (paused_) {
        replica.ledger->probe_failed();
        continue;
      }
      const auto found = leases_.find(request.lease);
      std::optional<membership::ShardLease> lease;
      if (found != leases_.end()) {
        lease = *membership::decode_shard_lease(found->second.json.dump());
      }
      replica.ledger->probe_succeeded(std::move(lease), now(replica));
      continue;
    }
    auto answer = paused_ ? fail(ErrorCode::kTimeout, "timeout") : carry_out(*request.action);
    line() << replica.name << ": " << name_of(request.action->kind) << " " << shorten(to_string(request.lease));
    if (request.action->kind == ActionKind::kSetLabel) {
      log_ << " " << to_string(request.action->state);
    }
    log_ << (answer ? "" : ": " + answer.error().message) << "\n";
    replica.ledger->action_finished(*request.action, std::move(answer), now(replica));
  }
}

// Takes out what the ledger decided and answers its requests, until nothing is left to do now.
void Simulation::settle(Replica& replica) {
  for (;;) {
    serve(replica);
    const auto output = replica.ledger->take(now(replica));
    if (output.ring_set) {
      line() << replica.name << ": version " << output.ring_set->version;
      for (const auto& [name, entry] : output.ring_set->rings) {
        log_ << " " << name << "=[";
        for (const std::string& shard : entry->ring().shards()) {
          log_ << (shard == entry->ring().shards().front() ? "" : " ") << shorten(shard);
        }
        log_ << "]";
        for (const std::string& shard : entry->cordoned()) {
          log_ << " cordoned " << shorten(shard);
        }
      }
      log_ << "\n";
    }
    for (const auto& change : output.changes) {
      line() << replica.name << ": told " << name_of(change.kind) << " " << change.ring;
      if (const auto* status = output.snapshot->find(change.ring)) {
        log_ << " (" << status->available_shards << "/" << status->shards.size() << " available)";
      }
      log_ << "\n";
    }
    for (const Action& action : output.actions) {
      if (action.kind == ActionKind::kRecordInvalidName) {
        line() << replica.name << ": reject-name " << shorten(to_string(action.lease)) << "\n";
      } else {
        replica.requests.push_back({time_ + kActionTimeout, action, action.lease});
      }
    }
    if (replica.requests.empty() || paused_) {
      return;
    }
  }
}

}  // namespace sharder::testing
