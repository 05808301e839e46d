#include "kube/events/events.h"

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/rfc3339.h"
#include "base/utf8.h"
#include "kube/events/event_correlator.h"

namespace sharder::kube {

namespace {

// The API server's limits (validation of core/v1 Events).
constexpr std::size_t kMaxReason = 128;
constexpr std::size_t kMaxMessage = 1024;

// dump() of text that may not be UTF-8: an error message can quote anything.
std::string to_text(const nlohmann::json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string namespace_of(const ObjectReference& object) {
  return object.object_namespace.empty() ? "default" : object.object_namespace;
}

}  // namespace

// Everything but the constants happens on the API loop.
struct EventRecorder::Impl : std::enable_shared_from_this<EventRecorder::Impl> {
  struct Occurrence {
    ObjectReference object;
    EventType type;
    std::string reason;
    std::string message;
    WallTime wall;
    SteadyTime steady;
  };
  // An Event that is being written, and what to write after that: all counts that came meanwhile are one patch.
  struct Writing {
    Occurrence occurrence;
    std::optional<EventRecord> next;
  };

  Impl(Api& api_in, const Clock& clock_in, std::string component_in, Logger log_in)
      : api(api_in), clock(clock_in), component(std::move(component_in)), log(std::move(log_in)) {}

  void record(Occurrence occurrence) {
    auto record = correlator.observe(occurrence.object, occurrence.type, occurrence.reason, occurrence.message,
                                     occurrence.wall, occurrence.steady);
    if (!record) {
      log.debug("event dropped, the object's budget is spent",
                {{"object", occurrence.object.object_namespace + "/" + occurrence.object.name},
                 {"reason", occurrence.reason}});
      return;
    }
    const std::string key = record->key;
    if (const auto found = writing.find(key); found != writing.end()) {
      found->second.next = std::move(record);
    } else {
      writing.emplace(key, Writing{.occurrence = std::move(occurrence), .next = std::nullopt});
      write(*std::move(record));
    }
  }

  void write(EventRecord record) {
    if (record.count > 1) {
      patch(std::move(record));
    } else {
      create(std::move(record));
    }
  }

  void create(EventRecord record) {
    const Occurrence& occurrence = writing.at(record.key).occurrence;
    const ObjectReference& object = occurrence.object;
    nlohmann::json involved{{"apiVersion", object.api_version}, {"kind", object.kind}, {"name", object.name}};
    for (const auto& [field, value] : {std::pair("namespace", object.object_namespace), std::pair("uid", object.uid),
                                       std::pair("resourceVersion", object.resource_version)}) {
      if (!value.empty()) {
        involved[field] = value;
      }
    }
    const nlohmann::json event{{"apiVersion", "v1"},
                               {"kind", "Event"},
                               {"metadata", {{"name", record.name}, {"namespace", namespace_of(object)}}},
                               {"involvedObject", std::move(involved)},
                               {"reason", occurrence.reason},
                               {"message", record.message},
                               {"source", {{"component", component}}},
                               {"reportingComponent", component},
                               {"reportingInstance", ""},
                               {"firstTimestamp", format_time(record.first)},
                               {"lastTimestamp", format_time(record.last)},
                               {"count", record.count},
                               {"type", occurrence.type == EventType::kWarning ? "Warning" : "Normal"}};
    send(create_request(kEvents, namespace_of(object), to_text(event), {}), std::move(record), false);
  }

  void patch(EventRecord record) {
    const nlohmann::json change{
        {"count", record.count}, {"lastTimestamp", format_time(record.last)}, {"message", record.message}};
    const std::string object_namespace = namespace_of(writing.at(record.key).occurrence.object);
    Request request = patch_request(kEvents, object_namespace, record.name, kMergePatch, to_text(change), {});
    send(std::move(request), std::move(record), true);
  }

  void send(Request request, EventRecord record, bool is_patch) {
    api.send(std::move(request),
             [self = shared_from_this(), record = std::move(record), is_patch](const Result<Response>& result) mutable {
               if (is_patch && !result && result.error().code == ErrorCode::kNotFound) {
                 self->create(std::move(record));  // the API server forgets Events after an hour
                 return;
               }
               if (!result) {
                 self->log.debug("event not written", {{"error", result.error().message}});
                 if (!is_patch) {
                   self->correlator.forget(record.key);
                 }
               }
               self->written(record.key, result.has_value() || is_patch);
             });
  }

  void written(const std::string& key, bool exists) {
    const auto entry = writing.find(key);
    std::optional<EventRecord> next = std::exchange(entry->second.next, std::nullopt);
    if (next && exists) {
      patch(*std::move(next));
    } else {
      writing.erase(entry);
    }
  }

  Api& api;
  const Clock& clock;
  const std::string component;
  const Logger log;
  EventCorrelator correlator;
  std::map<std::string, Writing, std::less<>> writing;  // bounded: a write has a deadline, an object a budget
};

EventRecorder::EventRecorder(Api& api, const Clock& clock, std::string component, Logger log)
    : impl_(std::make_shared<Impl>(api, clock, std::move(component), std::move(log))) {}
EventRecorder::~EventRecorder() = default;

void EventRecorder::record(const ObjectReference& object, EventType type, std::string_view reason,
                           std::string_view message) {
  impl_->api.loop().post(
      [impl = impl_, occurrence = Impl::Occurrence{.object = object,
                                                   .type = type,
                                                   .reason = std::string(cut_utf8(reason, kMaxReason)),
                                                   .message = std::string(cut_utf8(message, kMaxMessage)),
                                                   .wall = impl_->clock.wall(),
                                                   .steady = impl_->clock.steady()}]() mutable {
        impl->record(std::move(occurrence));
      });
}

}  // namespace sharder::kube
