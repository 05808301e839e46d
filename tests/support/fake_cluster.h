#pragma once

#include <algorithm>
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "kube/client/answer_error.h"
#include "tests/apiserver/api.h"
#include "tests/support/fake_api.h"
#include "tests/support/metadata_protobuf.h"

namespace sharder::testing {

// A cluster behind a FakeApi: the inside of the embedded API server, and what a test lets go wrong before it and behind
// it. Added here is what that server has not: protobuf, and a bookmark each minute of the test's clock. One thread: the
// test's.
class FakeCluster {
 public:
  using Json = nlohmann::json;

  // A request as the server takes it apart.
  struct Call {
    apiserver::Request request;
    apiserver::Route route;  // empty for discovery

    std::string object() const { return apiserver::Bucket::key(route.object_namespace, route.name); }  // "ns/name"
  };
  static Call call_of(const kube::Request& sent) {
    Call call{.request = apiserver::request_to(std::string(kube::to_string(sent.method)), sent.target), .route = {}};
    call.request.body = sent.body;
    call.request.content_type = sent.content_type;
    call.request.accept = sent.accept;
    call.route = apiserver::parse_route(call.request).value_or(apiserver::Route());
    return call;
  }

  // Decides on a request before the server does: nullopt lets it through. Code 0: no answer comes, the connection
  // breaks.
  using Decision = std::function<std::optional<apiserver::Status>(const Call&)>;

  FakeCluster(FakeExecutor& executor, FakeApi& api) : executor_(executor), api_(api) {
    for (const auto& always_there : objects("/api/v1/namespaces")) {
      remove("/api/v1/namespaces", always_there->name());
    }
  }

  // --- Objects, without an API request. `collection` is a path: "/api/v1/secrets"; `object` is "ns/name" or "name".

  void put(const std::string& collection, const std::string& object_namespace, const std::string& name,
           const Json& labels, const Json& owners = Json::array()) {
    const std::string key = apiserver::Bucket::key(object_namespace, name);
    const auto known = find(collection, key);
    Json metadata{{"name", name}, {"uid", known ? known->uid() : "uid-" + std::to_string(++uid_) + name}};
    for (const auto& [field, value] : {std::pair("labels", labels), std::pair("ownerReferences", owners)}) {
      if (!value.empty()) {
        metadata[field] = value;
      }
    }
    if (!object_namespace.empty()) {
      metadata["namespace"] = object_namespace;
    }
    // A Secret has a type.
    server.database().swap(bucket_of(collection), key, known, {{"metadata", std::move(metadata)}, {"type", "Opaque"}});
    show_changes();
  }
  void remove(const std::string& collection, const std::string& object) {
    server.database().swap(bucket_of(collection), object, find(collection, object), nullptr);
    show_changes();
  }
  // A request of somebody else, by whatever rules the API server has for it. Throws what it answers if that is a
  // failure.
  Json request(const std::string& method, const std::string& target, const Json& body = nullptr,
               const std::string& content_type = "application/json") {
    apiserver::Request sent = apiserver::request_to(method, target);
    sent.body = body.is_null() ? "" : body.dump();
    sent.content_type = content_type;
    const apiserver::Answer answer = server.handle(sent);
    show_changes();
    return answer.code < 300 ? Json::parse(answer.body) : throw std::runtime_error(answer.body);
  }
  // nullptr: there is none.
  apiserver::ObjectPtr find(const std::string& collection, const std::string& object) const {
    return server.database().get(bucket_of(collection), object);
  }
  std::vector<apiserver::ObjectPtr> objects(const std::string& collection) const {
    return server.database().page(bucket_of(collection), {})->items;
  }
  Json labels(const std::string& collection, const std::string& object) const {
    const auto found = find(collection, object);
    return found ? Json(found->labels()) : throw std::out_of_range(object);
  }

  // --- Time and requests.

  // Answers what waits, and what that brings, until nothing is left.
  void settle() {
    for (executor_.run(); serve_next(); executor_.run()) {
    }
  }
  void advance(std::chrono::nanoseconds time, std::chrono::nanoseconds step = std::chrono::milliseconds(50)) {
    settle();
    for (std::chrono::nanoseconds passed{0}; passed < time; passed += step) {
      executor_.advance(std::min(step, time - passed));
      settle();
    }
  }

  apiserver::Api server{{}};
  Decision refuse;
  bool hold_patches = false;       // patches wait
  bool undo_patches = false;       // somebody's webhook takes back what they change
  bool lose_answers = false;       // connections break when patches were carried out
  bool late_lists = false;         // the answers of lists are under way until it is false again
  bool versionless_lists = false;  // lists and watches show no resourceVersion, as foreign servers do
  bool versionless_reads = false;  // nor do objects that are read by their names
  bool protobuf = true;            // speaks it where it is asked for, as kube-apiserver does

  struct Patch {
    std::string object;
    Json body;
  };
  // What was asked for, oldest first, whatever came of it.
  std::vector<Patch> patches;
  std::vector<std::string> lists;  // targets of list requests
  std::vector<std::string> reads;  // objects that were read by their names
  std::vector<Json> events;        // core/v1 Events that were written
  int protobuf_lists = 0;          // pages that were answered in protobuf,
  int protobuf_events = 0;         // and events that were sent in it
  std::size_t most_in_flight = 0;  // patches that waited at the same time

 private:
  using Stream = std::shared_ptr<FakeApi::OpenStream>;
  struct Watch {
    Stream stream;
    std::shared_ptr<apiserver::WatchStream> shown;
  };

  static std::string bucket_of(const std::string& collection) {
    const auto route = apiserver::parse_route({.path = collection});
    return apiserver::Resource{.group = route->group, .plural = route->plural}.bucket();
  }
  bool speaks(const kube::Request& sent, const std::string& kind) const {
    return protobuf &&
           sent.accept.starts_with("application/vnd.kubernetes.protobuf;as=" + kind + ";g=meta.k8s.io;v=v1,");
  }

  // False: nothing waits.
  bool serve_next() {
    const bool opens = streams_ < api_.streams.size();
    for (; streams_ < api_.streams.size(); ++streams_) {
      open(api_.streams[streams_]);
    }
    if (!late_lists && !late_.empty()) {
      auto [callback, result] = std::move(late_.front());
      late_.pop_front();
      callback(std::move(result));
      return true;
    }
    const auto is_patch = [](const FakeApi::Pending& sent) { return sent.request.method == kube::Method::kPatch; };
    const auto patches_waiting = std::ranges::count_if(api_.pending, is_patch);
    most_in_flight = std::max(most_in_flight, static_cast<std::size_t>(patches_waiting));
    const auto next = std::ranges::find_if_not(
        api_.pending, [&](const FakeApi::Pending& sent) { return hold_patches && is_patch(sent); });
    if (next == api_.pending.end()) {
      return opens;
    }
    FakeApi::Pending sent = std::move(*next);
    api_.pending.erase(next);
    const Call call = call_of(sent.request);
    record(sent.request, call);
    auto result = answer(sent.request, call);
    if (late_lists && call.route.verb == "list") {
      late_.emplace_back(std::move(sent.callback), std::move(result));
    } else {
      sent.callback(std::move(result));
    }
    return true;
  }
  void record(const kube::Request& sent, const Call& call) {
    if (call.route.plural == "events") {
      events.push_back(Json::parse(sent.body));
    } else if (call.route.verb == "patch") {
      patches.push_back({call.object(), Json::parse(sent.body)});
    } else if (call.route.verb == "list") {
      lists.push_back(sent.target);
    } else if (call.route.verb == "get") {
      reads.push_back(call.object());
    }
  }
  Result<apiserver::Answer> ask(const kube::Request& sent, Call call) {
    const auto refused = refuse ? refuse(call) : std::nullopt;
    if (refused && refused->code == 0) {
      return fail(ErrorCode::kUnavailable, refused->message);
    }
    if (refused) {
      return std::unexpected(kube::error_from_status(kube::describe(sent.method, sent.target),
                                                     {.code = refused->code,
                                                      .reason = refused->reason,
                                                      .message = refused->message,
                                                      .continue_token = refused->continue_token}));
    }
    if (call.route.plural == "events") {
      return apiserver::Answer{.code = 201, .body = sent.body};
    }
    if (call.route.verb == "patch" && undo_patches) {
      Json body = Json::parse(sent.body);
      body["metadata"].erase("labels");  // the precondition is left
      call.request.body = body.dump();
    }
    apiserver::Answer answer = server.handle(call.request);
    show_changes();
    if (answer.code >= 300) {
      return std::unexpected(kube::error_from_answer(sent.method, sent.target, answer.code, answer.body, std::nullopt));
    }
    return answer;
  }
  Result<kube::Response> answer(const kube::Request& sent, const Call& call) {
    const auto answer = ask(sent, call);
    if (!answer) {
      return std::unexpected(answer.error());
    }
    if (call.route.verb == "patch" && lose_answers) {
      return fail(ErrorCode::kUnavailable, "connection reset");
    }
    return kube::Response{.status = answer->code, .body = as_asked_for(sent, call.route.verb, answer->body)};
  }
  std::string as_asked_for(const kube::Request& sent, const std::string& verb, const std::string& text) {
    const bool list_in_protobuf = speaks(sent, "PartialObjectMetadataList");
    protobuf_lists += list_in_protobuf ? 1 : 0;
    const bool loses_versions = (verb == "list" && versionless_lists) || (verb == "get" && versionless_reads);
    if (!loses_versions && !list_in_protobuf && !speaks(sent, "PartialObjectMetadata")) {
      return text;
    }
    Json body = Json::parse(text);
    if (verb == "list" && versionless_lists) {
      for (Json& item : body["items"]) {
        item["metadata"].erase("resourceVersion");
      }
    } else if (verb == "get" && versionless_reads) {
      body["metadata"].erase("resourceVersion");
    }
    return list_in_protobuf                        ? protobuf_list(body)
           : speaks(sent, "PartialObjectMetadata") ? protobuf_object(body)
                                                   : body.dump();
  }

  void open(const Stream& stream) {
    if (stream->cancelled) {
      return;
    }
    const auto answer = ask(stream->request, call_of(stream->request));
    post(stream, [stream, error = answer ? std::nullopt : std::optional(answer.error())] {
      if (error) {
        stream->cancelled = true;
        stream->sink->on_close(error);
      } else {
        stream->sink->on_open();
      }
    });
    if (answer) {
      watches_.push_back({stream, answer->watch});
      show_changes();
      bookmark_later(stream);
    }
  }
  void show_changes() {
    std::erase_if(watches_, [](const Watch& watch) { return watch.stream->cancelled; });
    for (const Watch& watch : watches_) {
      std::istringstream lines(watch.shown->next(std::chrono::milliseconds(0)).data);
      for (std::string line; std::getline(lines, line);) {
        send(watch.stream, Json::parse(line));
      }
    }
  }
  void bookmark_later(const Stream& stream) {
    executor_.post_after(std::chrono::minutes(1), [this, stream] {
      if (!stream->cancelled) {
        const std::string version = std::to_string(server.database().version());
        send(stream, {{"type", "BOOKMARK"}, {"object", {{"metadata", {{"resourceVersion", version}}}}}});
        bookmark_later(stream);
      }
    });
  }
  void send(const Stream& stream, Json event) {
    Json& object = event["object"];
    if (versionless_lists && event["type"] != "BOOKMARK") {
      object["metadata"].erase("resourceVersion");
    }
    const bool in_protobuf = speaks(stream->request, "PartialObjectMetadata");
    protobuf_events += in_protobuf ? 1 : 0;
    post(stream, [stream, text = in_protobuf ? protobuf_event(event["type"], protobuf_object(object))
                                             : event.dump() + "\n"] { stream->sink->on_data(text); });
  }
  void post(const Stream& stream, std::function<void()> task) {
    executor_.post([stream, task = std::move(task)] {
      if (!stream->cancelled) {
        task();
      }
    });
  }

  FakeExecutor& executor_;
  FakeApi& api_;
  std::size_t streams_ = 0;  // of api_.streams that were opened
  std::vector<Watch> watches_;
  std::deque<std::pair<kube::Api::Callback, Result<kube::Response>>> late_;  // lists, and their answers
  int uid_ = 0;
};

// Fails requests with these verbs ("list watch") for a resource ("secrets"; "": for each).
inline FakeCluster::Decision failing(const std::string& verbs, const std::string& plural, int code,
                                     const std::string& message = "not now") {
  return [=](const FakeCluster::Call& call) -> std::optional<apiserver::Status> {
    const auto& [verb, of] = std::tie(call.route.verb, call.route.plural);
    const bool hit = !verb.empty() && verbs.contains(verb) && (plural.empty() || plural == of);
    return hit ? std::optional(apiserver::failure(code, message)) : std::nullopt;
  };
}

}  // namespace sharder::testing
