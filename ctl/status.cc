#include "ctl/status.h"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/rfc3339.h"
#include "certs/x509.h"
#include "ctl/document.h"
#include "ctl/text.h"
#include "kube/codec/json.h"

namespace sharder::ctl {

namespace {

using nlohmann::json;
using nlohmann::ordered_json;

std::chrono::seconds seconds_between(WallTime from, WallTime to) {
  return std::chrono::floor<std::chrono::seconds>(to - from);
}

Tone tone_of_count(std::int64_t count, Tone bad) {
  return count == 0 ? Tone::kPlain : bad;
}

Tone tone_of(const Shard& shard) {
  switch (shard.state) {
    case membership::LeaseState::kReady:
      return shard.lease.cordoned ? Tone::kWarn : Tone::kGood;
    case membership::LeaseState::kExpired:
    case membership::LeaseState::kUncertain:
      return Tone::kWarn;
    case membership::LeaseState::kDead:
    case membership::LeaseState::kOrphaned:
      return shard.in_grace ? Tone::kWarn : Tone::kBad;
  }
  return Tone::kPlain;
}

std::string condition_status(const RingFacts& ring, std::string_view type) {
  const Condition* const condition = ring.condition(type);
  return condition == nullptr ? "" : condition->status;
}

std::string certificate_text(const RingReport& report, WallTime now) {
  if (!report.certificate_expiry) {
    return "";
  }
  const auto left = seconds_between(now, *report.certificate_expiry);
  return left.count() < 0 ? "expired" : short_duration(left);
}

Tone certificate_tone(const RingReport& report, WallTime now) {
  constexpr std::chrono::days kSoon{7};
  if (!report.certificate_expiry) {
    return Tone::kPlain;
  }
  const auto left = *report.certificate_expiry - now;
  return left.count() < 0 ? Tone::kBad : left < kSoon ? Tone::kWarn : Tone::kPlain;
}

// Of one of the ring's Leases. The same name in two namespaces is one shard of the ring: its objects and its share are
// with one of them, and the other has none.
bool counts(const RingReport& report, const Shard& shard) {
  return report.ring.find_shard(shard.lease.id.name) == &shard;
}

double balance(const RingReport& report) {
  return max_to_mean(report.ring.entry->ring().shards(),
                     [&report](const std::string& shard) { return report.census.objects_of(shard); });
}

std::string ratio_text(double ratio) {
  return ratio == 0 ? "" : decimal(ratio, 2);
}

double share_of(const RingFacts& ring, const std::string& shard) {
  const std::vector<std::string>& members = ring.entry->ring().shards();
  const auto found = std::ranges::lower_bound(members, shard);
  return found == members.end() || *found != shard
             ? 0
             : ring.entry->ring().shares()[static_cast<std::size_t>(found - members.begin())];
}

std::string render_rings(const StatusReport& report, const Style& style) {
  Table table({{"RING"},
               {"READY"},
               {"SHARDS", true},
               {"OBJECTS", true},
               {"UNASSIGNED", true},
               {"DRAINING", true},
               {"MISPLACED", true},
               {"MAX/MEAN", true},
               {"CERTIFICATE", true}});
  for (const RingReport& one : report.rings) {
    const auto available = std::ranges::count_if(one.ring.shards, [](const Shard& s) { return s.available; });
    const std::string ready = condition_status(one.ring, "Ready");
    const std::string more = one.complete ? "" : "+";
    table.add({one.ring.name(),
               {ready, ready == "True" ? Tone::kGood : Tone::kBad},
               {std::to_string(available) + "/" + std::to_string(one.ring.shards.size()),
                available == 0 ? Tone::kBad : Tone::kPlain},
               std::to_string(one.census.objects) + more,
               {std::to_string(one.census.unassigned) + more, tone_of_count(one.census.unassigned, Tone::kBad)},
               {std::to_string(one.census.draining) + more, tone_of_count(one.census.draining, Tone::kWarn)},
               {std::to_string(one.census.misplaced) + more, tone_of_count(one.census.misplaced, Tone::kWarn)},
               ratio_text(balance(one)),
               {certificate_text(one, report.now), certificate_tone(one, report.now)}});
  }
  return table.render(style);
}

// The ring's Leases, and below them what its objects' labels name besides.
std::string render_shards(const RingReport& report, WallTime now, bool wide, const Style& style) {
  std::vector<Column> columns{{"SHARD"},           {"STATE"},          {"OBJECTS", true},
                              {"BELONGING", true}, {"DRAINING", true}, {"SHARE", true}};
  if (wide) {
    columns.insert(columns.end(), {{"NAMESPACE"}, {"LEASE AGE", true}, {"TRANSITIONS", true}, {"POD"}});
  }
  Table table(std::move(columns));
  const auto add = [&](const std::string& name, Cell state, bool counted, std::vector<Cell> more) {
    static const Census::OfShard none;
    const auto found = report.census.shards.find(name);
    const Census::OfShard& census = found == report.census.shards.end() || !counted ? none : found->second;
    const double share = counted ? share_of(report.ring, name) : 0;
    std::vector<Cell> row{name,
                          std::move(state),
                          std::to_string(census.objects),
                          std::to_string(census.belonging),
                          {std::to_string(census.draining), tone_of_count(census.draining, Tone::kWarn)},
                          share == 0 ? Cell("") : Cell(decimal(100 * share, 1) + "%")};
    if (wide) {
      row.insert(row.end(), more.begin(), more.end());
    }
    table.add(std::move(row));
  };
  for (const Shard& shard : report.ring.shards) {
    const auto& lease = shard.lease;
    const auto pod = report.pods.find(to_string(lease.id));
    add(lease.id.name, {state_text(shard), tone_of(shard)}, counts(report, shard),
        {lease.id.lease_namespace,
         lease.renew_time ? Cell(short_duration(seconds_between(*lease.renew_time, now))) : Cell(""),
         std::to_string(lease.lease_transitions), pod == report.pods.end() ? Cell("") : Cell(pod->second)});
  }
  for (const auto& [name, census] : report.census.shards) {
    if (report.ring.find_shard(name) == nullptr) {
      add(name, {"no Lease", Tone::kBad}, true, {"", "", "", ""});
    }
  }
  return table.render(style);
}

ordered_json to_json(const Census& census) {
  return {{"objects", census.objects},
          {"unassigned", census.unassigned},
          {"misplaced", census.misplaced},
          {"draining", census.draining}};
}

ordered_json optional_time(const std::optional<WallTime>& time) {
  return time ? ordered_json(format_micro_time(*time)) : ordered_json(nullptr);
}

std::string_view to_string(Selection::Source source) {
  switch (source) {
    case Selection::Source::kRing:
      return "ring";
    case Selection::Source::kWebhook:
      return "webhook configuration";
    case Selection::Source::kProtocol:
      return "default of the protocol";
  }
  return "";
}

ordered_json shard_to_json(const RingReport& report, const Shard& shard, WallTime now) {
  const auto& lease = shard.lease;
  const auto found = report.census.shards.find(lease.id.name);
  const bool counted = counts(report, shard);
  const Census::OfShard census = found == report.census.shards.end() || !counted ? Census::OfShard() : found->second;
  ordered_json one{{"name", lease.id.name},
                   {"namespace", lease.id.lease_namespace},
                   {"state", membership::to_string(shard.state)},
                   {"stateLabel", lease.state_label},
                   {"available", shard.available},
                   {"cordoned", lease.cordoned},
                   {"inGrace", shard.in_grace},
                   {"member", shard.member},
                   {"holderIdentity", lease.holder_identity},
                   {"renewTime", optional_time(lease.renew_time)},
                   {"share", counted ? share_of(report.ring, lease.id.name) : 0},
                   {"objects", census.objects},
                   {"belonging", census.belonging},
                   {"draining", census.draining}};
  if (lease.renew_time) {
    one["leaseAgeSeconds"] = seconds_between(*lease.renew_time, now).count();
  }
  if (const auto pod = report.pods.find(to_string(lease.id)); pod != report.pods.end()) {
    one["pod"] = pod->second;
  }
  return one;
}

ordered_json ring_to_json(const RingReport& report, WallTime now) {
  ordered_json one{{"name", report.ring.name()}, {"conditions", ordered_json::array()}};
  for (const Condition& condition : report.ring.conditions) {
    one["conditions"].push_back({{"type", condition.type},
                                 {"status", condition.status},
                                 {"reason", condition.reason},
                                 {"message", condition.message}});
  }
  one["namespaceSelectorFrom"] = to_string(report.selection.source);
  one["certificateExpiry"] = optional_time(report.certificate_expiry);
  one["complete"] = report.complete;
  one.update(to_json(report.census));
  one["maxToMean"] = balance(report);
  one["example"] = report.census.example;
  one["resources"] = ordered_json::array();
  for (const ResourceStatus& resource : report.resources) {
    ordered_json counted{{"group", resource.resource.resource.group},
                         {"resource", resource.resource.resource.plural},
                         {"role", resource.resource.role == ring::Role::kMain ? "main" : "controlled"}};
    counted.update(to_json(resource.census));
    one["resources"].push_back(std::move(counted));
  }
  one["shards"] = ordered_json::array();
  for (const Shard& shard : report.ring.shards) {
    one["shards"].push_back(shard_to_json(report, shard, now));
  }
  one["labelsWithoutLease"] = ordered_json::object();
  for (const auto& [name, census] : report.census.shards) {
    if (report.ring.find_shard(name) == nullptr) {
      one["labelsWithoutLease"][name] = census.objects;
    }
  }
  return one;
}

}  // namespace

std::optional<WallTime> last_expiry(const std::string& ca_pem) {
  const auto certificates = certs::read_certificates(ca_pem);
  if (!certificates) {
    return std::nullopt;
  }
  return std::ranges::max(*certificates, {}, &certs::CertificateFacts::not_after).not_after;
}

LeaderFacts decode_leader(const json& lease, WallTime now) {
  LeaderFacts leader{
      .lease = kube::string_at(lease, "/metadata/namespace") + "/" + kube::string_at(lease, "/metadata/name"),
      .holder = kube::string_at(lease, "/spec/holderIdentity"),
      .renewed = parse_rfc3339(kube::string_at(lease, "/spec/renewTime"))};
  const std::chrono::seconds duration(kube::int_at(lease, "/spec/leaseDurationSeconds").value_or(0));
  leader.expired = leader.renewed && *leader.renewed + duration < now;
  return leader;
}

std::vector<std::string> findings(const StatusReport& report) {
  std::vector<std::string> found;
  if (report.leader && !report.leader->leads()) {
    found.push_back("no replica of the sharder leads: nobody moves objects");
  }
  for (const RingReport& one : report.rings) {
    const std::string ring = "ring " + one.ring.name() + ": ";
    const Condition* const ready = one.ring.condition("Ready");
    if (ready == nullptr) {
      found.push_back(ring + "has no condition Ready: no sharder has looked at it");
    } else if (ready->status != "True") {
      found.push_back(ring + "not ready: " + ready->message);
    }
    if (const Condition* const reachable = one.ring.condition("WebhookReachable");
        reachable != nullptr && reachable->status == "False") {
      found.push_back(ring + "webhook not reachable: " + reachable->message);
    }
    if (!one.ring.object.spec_error.empty()) {
      found.push_back(ring + one.ring.object.spec_error);
    }
    if (one.ring.entry->ring().shards().empty()) {
      found.push_back(ring + "has no available shard");
    }
    if (one.census.unassigned > 0) {
      found.push_back(ring + count_of(one.census.unassigned, "object") + " without an available shard, such as " +
                      one.census.example);
    }
    if (one.certificate_expiry && *one.certificate_expiry < report.now) {
      found.push_back(ring + "the caBundle of the webhook configuration has expired");
    }
  }
  for (const Shard& stray : report.strays) {
    found.push_back("Lease " + membership::to_string(stray.lease.id) + " is a shard of the ring " + stray.lease.ring +
                    ", which does not exist");
  }
  return found;
}

ExitCode exit_code_of(const StatusReport& report) {
  const ExitCode code = findings(report).empty() ? ExitCode::kOk : ExitCode::kFindings;
  return worse(code, worst_of(report.gaps));
}

std::string render_leader(const StatusReport& report, const Style& style) {
  Cell leader("not known", Tone::kWarn);
  if (report.leader) {
    leader = report.leader->holder.empty() ? Cell("nobody leads", Tone::kBad)
                                           : Cell(report.leader->holder + (report.leader->expired ? ", expired" : ""),
                                                  report.leader->expired ? Tone::kBad : Tone::kGood);
    if (report.leader->renewed) {
      leader.text += ", renewed " + short_duration(seconds_between(*report.leader->renewed, report.now)) + " ago";
    }
  }
  return render_facts({{"leader", leader}}, style);
}

std::string render_status(const StatusReport& report, bool shards, bool wide, const Style& style) {
  if (report.rings.empty()) {
    return "no rings\n";
  }
  std::string text = render_rings(report, style);
  for (const RingReport& one : report.rings) {
    if (shards) {
      text += (report.rings.size() > 1 ? "\nring " + printable(one.ring.name()) + "\n" : "\n") +
              render_shards(one, report.now, wide, style);
    }
  }
  return text;
}

ordered_json to_json(const StatusReport& report) {
  ordered_json all = document("Status");
  all["time"] = format_micro_time(report.now);
  all["leader"] = nullptr;
  if (report.leader) {
    all["leader"] = {{"lease", report.leader->lease},
                     {"holderIdentity", report.leader->holder},
                     {"renewTime", optional_time(report.leader->renewed)},
                     {"leads", report.leader->leads()}};
  }
  all["rings"] = ordered_json::array();
  for (const RingReport& ring : report.rings) {
    all["rings"].push_back(ring_to_json(ring, report.now));
  }
  all["findings"] = findings(report);
  all["incomplete"] = to_json(report.gaps);
  return all;
}

ordered_json without_times(ordered_json document) {
  for (const char* const time : {"time", "renewTime", "leaseAgeSeconds"}) {
    if (document.is_object()) {
      document.erase(time);
    }
  }
  for (ordered_json& element : document) {
    if (element.is_structured()) {
      element = without_times(std::move(element));
    }
  }
  return document;
}

}  // namespace sharder::ctl
