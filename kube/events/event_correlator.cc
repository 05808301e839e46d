#include "kube/events/event_correlator.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace sharder::kube {

namespace {

// A field's end: it occurs in no name, reason or message of ours.
constexpr char kEnd = '\0';

std::string key_of(std::initializer_list<std::string_view> parts) {
  std::string key;
  for (const std::string_view part : parts) {
    key.append(part).push_back(kEnd);
  }
  return key;
}

}  // namespace

std::optional<EventRecord> EventCorrelator::observe(const ObjectReference& object, EventType type,
                                                    std::string_view reason, std::string_view message, WallTime wall,
                                                    SteadyTime now) {
  const std::string about = key_of({object.api_version, object.kind, object.object_namespace, object.name, object.uid,
                                    type == EventType::kWarning ? "Warning" : "Normal"});
  const std::string group = about + key_of({reason});
  const bool combined = is_one_of_many(group, message, now);
  const std::string key = combined ? group : group + key_of({message});
  if (!spend(about, now)) {
    return std::nullopt;
  }
  EventRecord& record = records_[key];
  if (record.key.empty()) {
    record = {.key = key, .name = next_name(object.name, wall), .message = {}, .first = wall, .last = wall, .count = 0};
  }
  record.message = (combined ? "(combined from similar events): " : "") + std::string(message);
  record.last = wall;
  ++record.count;
  return record;
}

bool EventCorrelator::is_one_of_many(const std::string& group, std::string_view message, SteadyTime now) {
  Similar& similar = similar_[group];
  if (similar.last != SteadyTime::min() && now - similar.last > kAggregateFor) {
    similar.messages.clear();
  }
  similar.last = now;
  if (!similar.messages.contains(message)) {
    similar.messages.emplace(message);
  }
  if (similar.messages.size() < kMaxSimilar) {
    return false;
  }
  similar.messages.erase(similar.messages.begin());  // the set grows no further
  return true;
}

bool EventCorrelator::spend(const std::string& object, SteadyTime now) {
  Budget& budget = budgets_[object];
  if (budget.refilled) {
    budget.tokens += std::chrono::duration<double>(now - *budget.refilled) / std::chrono::duration<double>(kRefill);
    budget.tokens = std::min<double>(budget.tokens, kBurst);
  }
  budget.refilled = now;
  if (budget.tokens < 1) {
    return false;
  }
  budget.tokens -= 1;
  return true;
}

// "<object>.<nanoseconds in hex>", never the same twice.
std::string EventCorrelator::next_name(std::string_view object, WallTime now) {
  constexpr std::size_t kMaxName = 253;  // of a DNS subdomain
  last_nanoseconds_ = std::max(std::chrono::nanoseconds(now.time_since_epoch()).count(), last_nanoseconds_ + 1);
  std::array<char, 16> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), last_nanoseconds_, 16).ptr;
  std::string name(object.substr(0, kMaxName - 1 - digits.size()));
  while (!name.empty() && (name.back() == '.' || name.back() == '-')) {
    name.pop_back();  // the cut may not leave an empty label
  }
  return name.append(1, '.').append(digits.data(), end);
}

}  // namespace sharder::kube
