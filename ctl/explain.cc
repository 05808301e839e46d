#include "ctl/explain.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <nlohmann/json.hpp>

#include "base/ascii.h"
#include "base/rfc3339.h"
#include "ctl/document.h"
#include "ctl/text.h"
#include "kube/codec/json.h"
#include "ring/names.h"

namespace sharder::ctl {

namespace {

using nlohmann::json;
using nlohmann::ordered_json;

std::string hash_text(const std::string& key) {
  std::array<char, 16> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), ring::hash(key), 16).ptr;
  const std::string hex(digits.data(), end);
  return std::string(digits.size() - hex.size(), '0') + hex;
}

// Who has the key when a member leaves.
std::string heir(const ring::Ring& ring, const std::string& key, const std::string& without) {
  std::vector<std::string> others = ring.shards();
  std::erase(others, without);
  return std::string(ring::Ring(std::move(others)).owner(key).value_or(""));
}

std::string when(const std::optional<Setter>& setter, WallTime now) {
  if (!setter) {
    return "";
  }
  std::string text = "set by " + setter->manager;
  if (setter->time) {
    text += " " + short_duration(std::chrono::floor<std::chrono::seconds>(now - *setter->time)) + " ago (" +
            format_time(*setter->time) + ")";
  }
  return text;
}

std::string joined(const std::string& a, const std::string& b) {
  return a.empty() || b.empty() ? a + b : a + ", " + b;
}

Cell yes_no(const std::optional<bool>& answer) {
  return !answer ? Cell("not known", Tone::kWarn) : *answer ? Cell("yes", Tone::kGood) : Cell("no", Tone::kBad);
}

std::string identity(const Explanation& one) {
  return name_of(one.resource.resource) + " " +
         (one.object.object_namespace.empty() ? "" : one.object.object_namespace + "/") + one.object.name;
}

ordered_json optional_json(const std::optional<bool>& value) {
  return value ? ordered_json(*value) : ordered_json(nullptr);
}

ordered_json setter_json(const std::optional<Setter>& setter) {
  if (!setter) {
    return nullptr;
  }
  return {{"manager", setter->manager},
          {"operation", setter->operation},
          {"time", setter->time ? ordered_json(format_time(*setter->time)) : ordered_json(nullptr)}};
}

}  // namespace

std::optional<Setter> setter_of_label(const json& object, const std::string& label) {
  std::optional<Setter> last;
  for (const json& entry : kube::elements_of(kube::value_at(object, "/metadata/managedFields"))) {
    const json& labels = kube::value_at(entry, "/fieldsV1/f:metadata/f:labels");
    if (kube::field_of(labels, "f:" + label).is_null()) {
      continue;
    }
    Setter setter{.manager = kube::string_at(entry, "/manager"),
                  .operation = kube::string_at(entry, "/operation"),
                  .time = parse_rfc3339(kube::string_at(entry, "/time"))};
    if (!last || !last->time || (setter.time && *setter.time >= *last->time)) {
      last = std::move(setter);
    }
  }
  return last;
}

Explanation explain(const RingFacts& ring, const RingResource& resource, const Selection& selection,
                    const kube::ObjectMeta& object, WallTime now) {
  Explanation one{.ring = ring.name(), .resource = resource, .object = object, .now = now};
  one.selected = selection.selects(resource.resource, object);
  one.selector_from = selection.source;
  rebalancer::Placement placement;
  rebalancer::find_placement(placement, *ring.entry, resource.role, resource.resource, object);
  one.key = placement.key;
  one.shard = placement.shard;
  if (const auto drain = object.label(ring.entry->drain_label())) {
    one.drain = *drain;
  }
  if (!one.key.empty()) {
    one.desired = ring.entry->ring().owner(one.key).value_or("");
    one.next = heir(ring.entry->ring(), one.key, one.desired);
  }
  if (!one.shard.empty()) {
    const Shard* const shard = ring.find_shard(one.shard);
    one.shard_available = shard != nullptr && shard->available;
    one.shard_state = shard == nullptr ? "no Lease" : state_text(*shard);
  }
  if (const Condition* const reachable = ring.condition(ring::kWebhookReachable)) {
    one.webhook_reachable = reachable->status;
  }
  return one;
}

std::vector<std::string> Explanation::verdict() const {
  std::vector<std::string> said;
  if (selected == false) {
    said.push_back("the ring's namespaceSelector does not select it: the sharder leaves it alone");
  }
  if (key.empty()) {
    said.push_back("it has no controller ownerReference, so it is not sharded");
    return said;
  }
  if (desired.empty()) {
    said.push_back("the ring has no available shard: it stays as it is");
  } else if (shard == desired) {
    said.push_back(drain ? "it is where it belongs; the drain label is left over, and the next pass takes it away"
                         : "it is where it belongs");
  } else if (shard.empty()) {
    said.push_back("no shard has it: the leader gives it to " + desired);
  } else if (!shard_available) {
    said.push_back("the shard " + shard + " is not available: the leader gives it to " + desired);
  } else if (drain) {
    said.push_back("it waits until " + shard + " acknowledges the drain and lets go; then " +
                   (drain->empty() || *drain == ring::kDrainLabelValue ? desired : *drain) + " gets it");
  } else if (resource.role == ring::Role::kMain) {
    said.push_back("it belongs to " + desired + ": the next pass asks " + shard + " to let go");
  } else {
    said.push_back("it belongs to " + desired + ": the next pass gives it there");
  }
  if (webhook_calls == false) {
    said.push_back("the ring's webhook configuration has no rule for " + name_of(resource.resource) +
                   ": new objects get their shard from the leader alone");
  }
  for (const auto& [verb, allowed] : sharder_may) {
    if (allowed == false) {
      said.push_back("the sharder may not " + verb + " " + name_of(resource.resource));
    }
  }
  for (const ControlledObjects& one : controlled) {
    if (one.elsewhere > 0) {
      said.push_back(count_of(one.elsewhere, "object") + " of " + one.resource + " that it controls " +
                     (one.elsewhere == 1 ? "is" : "are") + " on another shard, such as " + one.example);
    }
  }
  return said;
}

ExitCode Explanation::exit_code() const {
  if (selected == false || key.empty()) {
    return ExitCode::kOk;
  }
  const bool moves = shard_available && drain;
  const bool apart = std::ranges::any_of(controlled, [](const ControlledObjects& one) { return one.elsewhere > 0; });
  return !desired.empty() && (moves || (shard == desired && !apart)) ? ExitCode::kOk : ExitCode::kFindings;
}

std::string render(const Explanation& one, const Style& style) {
  const Tone tone = one.exit_code() == ExitCode::kOk ? Tone::kGood : Tone::kBad;
  std::vector<std::pair<std::string, Cell>> facts{
      {"object", identity(one)},
      {"ring", one.ring + (one.resource.role == ring::Role::kMain ? ", main resource" : ", controlled resource")}};
  for (const std::string& sentence : one.verdict()) {
    facts.emplace_back(facts.size() == 2 ? "verdict" : "and", Cell(sentence, tone));
  }
  if (!one.key.empty()) {
    facts.emplace_back("key", one.key);
    facts.emplace_back("hash", hash_text(one.key));
  }
  facts.emplace_back("belongs to", one.desired.empty() ? "nobody" : one.desired);
  facts.emplace_back("next", one.next.empty() ? "nobody" : one.next);
  facts.emplace_back(
      "has it", one.shard.empty() ? Cell("nobody", Tone::kBad)
                                  : Cell(joined(one.shard + " (" + one.shard_state + ")", when(one.shard_set, one.now)),
                                         one.shard_available ? Tone::kPlain : Tone::kBad));
  if (one.drain) {
    facts.emplace_back("drain", Cell(joined("to " + *one.drain, when(one.drain_set, one.now)), Tone::kWarn));
  }
  facts.emplace_back("selected", yes_no(one.selected));
  Cell webhook = yes_no(one.webhook_calls);
  if (!one.webhook_reachable.empty()) {
    webhook.text += ", reachable: " + one.webhook_reachable;
  }
  facts.emplace_back("webhook", webhook);
  for (const auto& [verb, allowed] : one.sharder_may) {
    facts.emplace_back("sharder may " + verb, yes_no(allowed));
  }
  for (const ControlledObjects& controlled : one.controlled) {
    std::string counts;
    for (const auto& [shard, count] : controlled.by_shard) {
      std::string part = shard.empty() ? "without a shard " : "on " + shard + " ";
      counts = joined(counts, part.append(std::to_string(count)));
    }
    facts.emplace_back("controls " + controlled.resource,
                       Cell(counts.empty() ? "none" : counts, controlled.elsewhere > 0 ? Tone::kBad : Tone::kPlain));
  }
  return render_facts(facts, style);
}

ordered_json to_json(const Explanation& one) {
  ordered_json all{{"ring", one.ring},
                   {"group", one.resource.resource.group},
                   {"resource", one.resource.resource.plural},
                   {"objectKind", one.resource.resource.kind},
                   {"namespace", one.object.object_namespace},
                   {"name", one.object.name},
                   {"resourceVersion", one.object.resource_version},
                   {"role", one.resource.role == ring::Role::kMain ? "main" : "controlled"},
                   {"verdict", one.verdict()},
                   {"key", one.key},
                   {"hash", one.key.empty() ? "" : hash_text(one.key)},
                   {"desired", one.desired},
                   {"next", one.next},
                   {"shard", one.shard},
                   {"shardState", one.shard_state},
                   {"shardAvailable", one.shard_available},
                   {"shardSet", setter_json(one.shard_set)},
                   {"drain", one.drain ? ordered_json(*one.drain) : ordered_json(nullptr)},
                   {"drainSet", setter_json(one.drain_set)},
                   {"selected", optional_json(one.selected)},
                   {"webhookCalls", optional_json(one.webhook_calls)},
                   {"webhookReachable", one.webhook_reachable},
                   {"sharderMay", ordered_json::object()},
                   {"controlled", ordered_json::array()}};
  for (const auto& [verb, allowed] : one.sharder_may) {
    all["sharderMay"][verb] = optional_json(allowed);
  }
  for (const ControlledObjects& controlled : one.controlled) {
    all["controlled"].push_back({{"resource", controlled.resource},
                                 {"byShard", controlled.by_shard},
                                 {"elsewhere", controlled.elsewhere},
                                 {"example", controlled.example}});
  }
  return all;
}

bool is_called(const kube::Resource& resource, std::string_view word) {
  const std::string wanted = to_lower(word);
  const std::string kind = to_lower(resource.kind);
  const std::string group = resource.group.empty() ? "" : "." + resource.group;
  return wanted == resource.plural || wanted == kind ||
         (!group.empty() && (wanted == resource.plural + group || wanted == kind + group));
}

}  // namespace sharder::ctl
