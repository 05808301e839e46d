#include "ctl/events_command.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <tuple>

#include "base/rfc3339.h"
#include "ctl/cluster.h"
#include "ctl/document.h"
#include "ctl/rings.h"
#include "ctl/text.h"
#include "kube/codec/json.h"

namespace sharder::ctl {

namespace {

using nlohmann::json;

struct RingEvent {
  std::optional<WallTime> last;
  std::string type, reason, message, source;
  std::int64_t count = 1;
};

RingEvent decode_event(const json& event) {
  const auto first_of = [&event](std::initializer_list<const char*> pointers) {
    for (const char* const pointer : pointers) {
      if (std::string text = kube::string_at(event, pointer); !text.empty()) {
        return text;
      }
    }
    return std::string();
  };
  return {.last = parse_rfc3339(
              first_of({"/series/lastObservedTime", "/lastTimestamp", "/eventTime", "/metadata/creationTimestamp"})),
          .type = kube::string_at(event, "/type"),
          .reason = kube::string_at(event, "/reason"),
          .message = kube::string_at(event, "/message"),
          .source = first_of({"/source/component", "/reportingComponent"}),
          .count = std::max<std::int64_t>(1, kube::int_at(event, "/count").value_or(1))};
}

std::string render(const std::vector<RingEvent>& events, WallTime now, const Style& style) {
  Table table({{"LAST SEEN"}, {"TYPE"}, {"REASON"}, {"COUNT", true}, {"FROM"}, {"MESSAGE"}});
  for (const RingEvent& event : events) {
    table.add({event.last ? short_duration(std::chrono::floor<std::chrono::seconds>(now - *event.last)) : "",
               {event.type, event.type == "Warning" ? Tone::kWarn : Tone::kPlain},
               event.reason,
               std::to_string(event.count),
               event.source,
               event.message});
  }
  return events.empty() ? "no Events\n" : table.render(style);
}

}  // namespace

// Events of a cluster-scoped object are in the namespace "default" (protocol, 2).
Result<ExitCode> run_events(Context& context) {
  const auto cluster = Cluster::connect(context.options);
  if (!cluster) {
    return std::unexpected(cluster.error());
  }
  const std::string& name = context.invocation.arguments.front();
  if (const auto ring = read_ring(**cluster, name); !ring) {
    return std::unexpected(ring.error());
  }
  const std::string object_namespace =
      context.options.all_namespaces ? "" : context.options.object_namespace.value_or("default");
  std::vector<RingEvent> events;
  const auto listed = (*cluster)->list(
      kube::kEvents, object_namespace, "", [&events](const json& event) { events.push_back(decode_event(event)); },
      "involvedObject.kind=ControllerRing,involvedObject.name=" + name);
  if (!listed) {
    return std::unexpected(listed.error());
  }
  std::ranges::sort(events, {},
                    [](const RingEvent& event) { return std::tie(event.last, event.reason, event.message); });
  if (!context.options.structured()) {
    context.console.print(render(events, SystemClock().wall(), context.style()));
    return ExitCode::kOk;
  }
  nlohmann::ordered_json all = document("Events");
  all["ring"] = name;
  all["items"] = nlohmann::ordered_json::array();
  for (const RingEvent& event : events) {
    all["items"].push_back({{"lastSeen", event.last ? json(format_time(*event.last)) : json(nullptr)},
                            {"type", event.type},
                            {"reason", event.reason},
                            {"count", event.count},
                            {"from", event.source},
                            {"message", event.message}});
  }
  print_document(context, all);
  return ExitCode::kOk;
}

}  // namespace sharder::ctl
