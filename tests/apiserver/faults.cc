#include "tests/apiserver/faults.h"

#include <algorithm>
#include <array>
#include <set>
#include <utility>
#include <vector>

namespace sharder::apiserver {

using nlohmann::json;

namespace {

constexpr std::array<std::pair<Fault::Kind, const char*>, 5> kKinds{{{Fault::Kind::kError, "error"},
                                                                     {Fault::Kind::kLatency, "latency"},
                                                                     {Fault::Kind::kCut, "cut"},
                                                                     {Fault::Kind::kFreeze, "freeze"},
                                                                     {Fault::Kind::kTrickle, "trickle"}}};
constexpr std::array<std::pair<Fault::Cut, const char*>, 3> kCuts{
    {{Fault::Cut::kBefore, "before"}, {Fault::Cut::kAfter, "after"}, {Fault::Cut::kMiddle, "middle"}}};

template <class Table, class Value>
const char* name_in(const Table& table, Value value) {
  return std::ranges::find(table, value, [](const auto& entry) { return entry.first; })->second;
}

template <class Value, std::size_t N>
std::optional<Value> value_in(const std::array<std::pair<Value, const char*>, N>& table, const std::string& name) {
  const auto found = std::ranges::find_if(table, [&](const auto& entry) { return entry.second == name; });
  return found == table.end() ? std::nullopt : std::optional(found->first);
}

Status bad(const std::string& why) {
  return failure(400, "fault: " + why);
}

Outcome<Fault> parse(const json& object) {
  static const std::set<std::string> kKnown{"fault",        "status",         "retryAfter", "reason",  "message",
                                            "milliseconds", "when",           "method",     "verb",    "path",
                                            "userAgent",    "wholeUserAgent", "count",      "fraction"};
  for (const auto& [name, value] : object.items()) {
    if (!kKnown.contains(name)) {
      return refuse(bad("unknown field \"" + name + "\""));
    }
  }
  const auto kind = value_in(kKinds, object.value("fault", ""));
  if (!kind) {
    return refuse(bad("\"" + object.value("fault", "") + "\" is none"));
  }
  Fault fault{.kind = *kind,
              .match = {.method = object.value("method", ""),
                        .verb = object.value("verb", ""),
                        .path = object.value("path", ""),
                        .user_agent = object.value("userAgent", ""),
                        .whole_user_agent = object.value("wholeUserAgent", "")}};
  if (object.contains("count")) {
    fault.count = object.at("count").get<std::uint64_t>();
  }
  if (object.contains("fraction")) {
    fault.fraction = object.at("fraction").get<double>();
  }
  if (*kind == Fault::Kind::kError) {
    const int code = object.value("status", 0);
    if (code < 400 || code > 599) {
      return refuse(bad("status must be 400 to 599"));
    }
    fault.status = failure(code, object.value("message", "injected fault"));
    fault.status.reason = object.value("reason", fault.status.reason);
    if (object.contains("retryAfter")) {
      fault.status.retry_after_seconds = object.at("retryAfter").get<int>();
    }
  } else if (*kind == Fault::Kind::kLatency || *kind == Fault::Kind::kTrickle) {
    fault.latency = std::chrono::milliseconds(object.value("milliseconds", 0));
    if (fault.latency <= std::chrono::milliseconds(0)) {
      return refuse(bad("milliseconds must be positive"));
    }
  } else if (*kind == Fault::Kind::kCut) {
    const auto cut = value_in(kCuts, object.value("when", "before"));
    if (!cut) {
      return refuse(bad("when must be before, after or middle"));
    }
    fault.cut = *cut;
  }
  return fault;
}

}  // namespace

bool FaultMatch::matches(const Request& request) const {
  if (!method.empty() && method != request.method) {
    return false;
  }
  if (!request.path.starts_with(path) || !request.user_agent.starts_with(user_agent)) {
    return false;
  }
  if (!whole_user_agent.empty() && whole_user_agent != request.user_agent) {
    return false;
  }
  if (!verb.empty()) {
    const auto route = parse_route(request);
    return route && route->verb == verb;
  }
  return true;
}

Outcome<Fault> Fault::from_json(const json& object) {
  if (!object.is_object()) {
    return refuse(bad("an object is expected"));
  }
  try {
    return parse(object);
  } catch (const json::exception& error) {
    return refuse(bad(error.what()));
  }
}

json Fault::to_json() const {
  json result = {{"fault", name_in(kKinds, kind)}};
  const auto add = [&](const char* name, const std::string& value) {
    if (!value.empty()) {
      result[name] = value;
    }
  };
  add("method", match.method);
  add("verb", match.verb);
  add("path", match.path);
  add("userAgent", match.user_agent);
  add("wholeUserAgent", match.whole_user_agent);
  if (count) {
    result["count"] = *count;
  }
  if (fraction) {
    result["fraction"] = *fraction;
  }
  if (kind == Kind::kError) {
    result["status"] = status.code;
  } else if (kind == Kind::kLatency || kind == Kind::kTrickle) {
    result["milliseconds"] = latency.count();
  } else if (kind == Kind::kCut) {
    result["when"] = name_in(kCuts, cut);
  }
  return result;
}

int Faults::add(Fault fault) {
  const std::lock_guard lock(mutex_);
  active_.emplace(++last_id_, Active{std::move(fault)});
  return last_id_;
}

bool Faults::remove(int id) {
  const std::lock_guard lock(mutex_);
  const bool removed = active_.erase(id) > 0;
  thawed_.notify_all();
  return removed;
}

void Faults::clear() {
  const std::lock_guard lock(mutex_);
  active_.clear();
  thawed_.notify_all();
}

void Faults::thaw() {
  const std::lock_guard lock(mutex_);
  std::erase_if(active_, [](const auto& entry) { return entry.second.fault.kind == Fault::Kind::kFreeze; });
  thawed_.notify_all();
}

bool Faults::frozen_locked(const Request& request) const {
  return !stopped_ && std::ranges::any_of(active_, [&](const auto& entry) {
    return entry.second.fault.kind == Fault::Kind::kFreeze && entry.second.fault.match.matches(request);
  });
}

bool Faults::frozen(const Request& request) const {
  const std::lock_guard lock(mutex_);
  return frozen_locked(request);
}

std::chrono::milliseconds Faults::pause(const Request& request) const {
  const std::lock_guard lock(mutex_);
  std::chrono::milliseconds longest{0};
  for (const auto& [id, active] : active_) {
    if (active.fault.kind == Fault::Kind::kTrickle && active.fault.match.matches(request)) {
      longest = std::max(longest, active.fault.latency);
    }
  }
  return longest;
}

Fate Faults::decide(const Request& request) {
  std::unique_lock lock(mutex_);
  Fate fate;
  for (auto& [id, active] : active_) {
    const Fault& fault = active.fault;
    if ((fault.count && active.hits >= *fault.count) || !fault.match.matches(request)) {
      continue;
    }
    if (fault.fraction && std::uniform_real_distribution<>()(random_) >= *fault.fraction) {
      continue;
    }
    ++active.hits;
    if (fault.kind == Fault::Kind::kLatency) {
      fate.latency += fault.latency;
    } else if (fault.kind == Fault::Kind::kError && !fate.error) {
      fate.error = fault.status;
    } else if (fault.kind == Fault::Kind::kCut && !fate.cut) {
      fate.cut = fault.cut;
    }
  }
  thawed_.wait(lock, [&] { return !frozen_locked(request); });
  return fate;
}

void Faults::stop() {
  const std::lock_guard lock(mutex_);
  stopped_ = true;
  thawed_.notify_all();
}

json Faults::to_json() const {
  const std::lock_guard lock(mutex_);
  json result = json::array();
  for (const auto& [id, active] : active_) {
    json entry = active.fault.to_json();
    entry["id"] = id;
    entry["hits"] = active.hits;
    result.push_back(std::move(entry));
  }
  return result;
}

WallTime ServerClock::now() const {
  const std::lock_guard lock(mutex_);
  return frozen_.value_or(std::chrono::floor<std::chrono::microseconds>(std::chrono::system_clock::now()));
}

void ServerClock::freeze(std::optional<WallTime> at) {
  const std::lock_guard lock(mutex_);
  frozen_ = at.value_or(std::chrono::floor<std::chrono::microseconds>(std::chrono::system_clock::now()));
}

void ServerClock::thaw() {
  const std::lock_guard lock(mutex_);
  frozen_.reset();
}

}  // namespace sharder::apiserver
