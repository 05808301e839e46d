#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "kube/client/resource.h"
#include "tests/support/fake_api.h"
#include "tests/support/metadata_protobuf.h"

namespace sharder::testing {

// The objects of a cluster behind a FakeApi, as far as the rebalancer uses them: lists in pages, watches with a label
// selector and bookmarks each minute, reads, merge patches with the resourceVersion as precondition. One thread: the
// test's.
class FakeCluster {
 public:
  using Json = nlohmann::json;
  using Key = std::pair<std::string, std::string>;  // collection path ("/api/v1/secrets"), "ns/name" or "name"

  FakeCluster(FakeExecutor& executor, FakeApi& api) : executor_(executor), api_(api) {}

  struct Patch {
    std::string object;  // "ns/name"
    Json body;
  };

  // "/api/v1/namespaces/ns/secrets/name?x=y" -> collection "/api/v1/secrets", namespace, name, query.
  struct Target {
    std::string collection, object_namespace, name;
    std::map<std::string, std::string> query;
    std::string object() const { return object_namespace.empty() ? name : object_namespace + "/" + name; }
    // The parameter's value, "" when it is absent.
    std::string parameter(const std::string& key) const {
      const auto found = query.find(key);
      return found == query.end() ? "" : found->second;
    }
  };
  static Target parse(const std::string& text) {
    Target target;
    const auto question = text.find('?');
    std::string path = text.substr(0, question);
    for (auto at = question; at != std::string::npos;) {
      const auto end = text.find('&', at + 1);
      const std::string pair = text.substr(at + 1, end == std::string::npos ? end : end - at - 1);
      target.query[pair.substr(0, pair.find('='))] = unescape(pair.substr(pair.find('=') + 1));
      at = end;
    }
    std::vector<std::string> parts;
    for (std::size_t at = 1; at <= path.size();) {
      const auto end = std::min(path.find('/', at), path.size());
      parts.push_back(unescape(path.substr(at, end - at)));
      at = end + 1;
    }
    const std::size_t prefix = parts[0] == "api" ? 2 : 3;
    for (std::size_t part = 0; part < prefix; ++part) {
      target.collection += "/" + parts.at(part);
    }
    if (parts.size() == prefix) {
      return target;  // discovery
    }
    std::size_t next = prefix;
    if (parts.size() > prefix + 2 && parts[prefix] == "namespaces") {
      target.object_namespace = parts[prefix + 1];
      next = prefix + 2;
    }
    target.collection += "/" + parts[next];
    target.name = parts.size() > next + 1 ? parts[next + 1] : "";
    return target;
  }

  // --- what the test does

  void put(const std::string& collection, const std::string& object_namespace, const std::string& name, Json labels,
           Json owners = Json::array()) {
    const Key key{collection, object_namespace.empty() ? name : object_namespace + "/" + name};
    const auto known = objects.find(key);
    Json object{{"metadata",
                 {{"name", name},
                  {"uid", known == objects.end() ? "uid-" + std::to_string(++uid_) + name
                                                 : known->second["metadata"]["uid"].get<std::string>()},
                  {"labels", std::move(labels)},
                  {"ownerReferences", std::move(owners)}}}};
    if (!object_namespace.empty()) {
      object["metadata"]["namespace"] = object_namespace;
    }
    store(key, std::move(object));
  }
  void remove(const std::string& collection, const std::string& object) {
    const auto found = objects.find({collection, object});
    const Json old = found->second;
    objects.erase(found);
    tell(collection, &old, nullptr);
  }
  Json labels(const std::string& collection, const std::string& object) const {
    return objects.at({collection, object})["metadata"]["labels"];
  }
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

  std::map<Key, Json> objects;
  std::vector<Patch> patches;           // that were tried, oldest first
  std::vector<std::string> lists;       // targets of list requests
  std::vector<std::string> reads;       // objects that were read by their names
  std::vector<Json> events;             // core/v1 Events that were written
  std::set<std::string> no_watch;       // collections that may not be watched
  std::set<std::string> no_list;        // nor listed
  std::set<std::string> gone;           // 404
  std::map<std::string, Error> broken;  // collections whose lists and watches fail so
  // What discovery answers, by path.
  std::map<std::string, std::string> discovery{
      {"/api/v1", R"({"resources":[{"name":"secrets","kind":"Secret","namespaced":true},
                                   {"name":"configmaps","kind":"ConfigMap","namespaced":true},
                                   {"name":"namespaces","kind":"Namespace","namespaced":false}]})"}};
  std::size_t longest_selector = 1000000;  // of a watch: a longer one is a 414
  bool hold_patches = false;               // patches wait
  bool undo_patches = false;               // somebody's webhook takes back what they change
  bool lose_answers = false;               // connections break when patches were carried out
  bool late_lists = false;                 // the answers of lists are under way until it is false again
  bool versionless_lists = false;          // lists and watches show no resourceVersion, as foreign servers do
  bool versionless_reads = false;          // nor do objects that are read by their names
  bool protobuf = true;                    // speaks it where it is asked for, as kube-apiserver does
  int protobuf_lists = 0;                  // pages that were answered in it,
  int protobuf_events = 0;                 // and events that were sent in it
  std::size_t most_in_flight = 0;          // patches that waited at the same time
  // Decides on a request before the cluster does.
  std::function<std::optional<Error>(const kube::Request&)> refuse;

 private:
  struct Watch {
    std::shared_ptr<FakeApi::OpenStream> stream;
    std::string collection;
    std::string selector;
  };

  static std::string unescape(const std::string& text) {
    std::string plain;
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (text[i] == '%') {
        plain += static_cast<char>(std::stoi(text.substr(i + 1, 2), nullptr, 16));
        i += 2;
      } else {
        plain += text[i];
      }
    }
    return plain;
  }
  // The selectors that the rebalancer uses: "", "key", "!key", "key notin (a,b)".
  static bool matches(const std::string& selector, const Json& object) {
    const Json& labels = object["metadata"]["labels"];
    if (selector.empty()) {
      return true;
    }
    if (selector.starts_with('!')) {
      return !labels.contains(selector.substr(1));
    }
    const auto list = selector.find(" notin (");
    if (list == std::string::npos) {
      return labels.contains(selector);
    }
    const std::string value = labels.value(selector.substr(0, list), "");
    const std::string values = "," + selector.substr(list + 8, selector.size() - list - 9) + ",";
    return !labels.contains(selector.substr(0, list)) || !values.contains("," + value + ",");
  }

  void store(const Key& key, Json object) {
    object["metadata"]["resourceVersion"] = std::to_string(++version_);
    const auto known = objects.find(key);
    const std::optional<Json> old = known == objects.end() ? std::nullopt : std::optional(known->second);
    objects[key] = object;
    tell(key.first, old ? &*old : nullptr, &object);
  }
  void tell(const std::string& collection, const Json* before, const Json* after) {
    for (Watch& watch : watches_) {
      if (watch.collection != collection || watch.stream->cancelled) {
        continue;
      }
      const bool was = before != nullptr && matches(watch.selector, *before);
      const bool is = after != nullptr && matches(watch.selector, *after);
      if (was || is) {
        send(watch, !is ? "DELETED" : was ? "MODIFIED" : "ADDED", as_shown(is ? *after : *before));
      }
    }
  }
  Json as_shown(Json object) const {
    if (versionless_lists) {
      object["metadata"].erase("resourceVersion");
    }
    return object;
  }
  void send(const Watch& watch, const std::string& type, const Json& object) {
    const bool in_protobuf = speaks(watch.stream->request, "PartialObjectMetadata");
    protobuf_events += in_protobuf ? 1 : 0;
    executor_.post([stream = watch.stream, event = in_protobuf
                                                       ? protobuf_event(type, protobuf_object(object))
                                                       : Json{{"type", type}, {"object", object}}.dump() + "\n"] {
      if (!stream->cancelled) {
        stream->sink->on_data(event);
      }
    });
  }

  // False: nothing waits.
  bool serve_next() {
    for (; streams_ < api_.streams.size(); ++streams_) {
      open(api_.streams[streams_]);
    }
    if (!late_lists && !late_.empty()) {
      auto [list, body] = std::move(late_.front());
      late_.pop_front();
      list.callback(kube::Response{.status = 200, .body = std::move(body)});
      return true;
    }
    const auto held = [this](const FakeApi::Pending& pending) {
      return hold_patches && pending.request.method == kube::Method::kPatch;
    };
    most_in_flight =
        std::max(most_in_flight,
                 static_cast<std::size_t>(std::ranges::count_if(api_.pending, [](const FakeApi::Pending& pending) {
                   return pending.request.method == kube::Method::kPatch;
                 })));
    const auto next = std::ranges::find_if_not(api_.pending, held);
    if (next == api_.pending.end()) {
      return false;
    }
    std::rotate(api_.pending.begin(), next, next + 1);
    const kube::Request request = api_.pending.front().request;
    if (auto error = refuse ? refuse(request) : std::nullopt) {
      if (request.method == kube::Method::kPatch) {
        patches.push_back({parse(request.target).object(), Json::parse(request.body)});
      }
      api_.fail(*error);
      return true;
    }
    if (const auto known = discovery.find(request.target); known != discovery.end()) {
      api_.answer(known->second);
      return true;
    }
    const Target target = parse(request.target);
    if (target.collection == "/api/v1/events") {
      events.push_back(Json::parse(request.body));
      api_.answer(request.body, 201);
    } else if (request.method == kube::Method::kPatch) {
      patch(target, Json::parse(request.body));
    } else if (!target.name.empty()) {
      read(target);
    } else {
      list(target, request.target);
    }
    return true;
  }
  void patch(const Target& target, const Json& body) {
    patches.push_back({target.object(), body});
    const auto found = objects.find({target.collection, target.object()});
    if (found == objects.end()) {
      api_.fail({.code = ErrorCode::kNotFound, .message = "not found", .http_status = 404});
      return;
    }
    if (found->second["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"]) {
      api_.fail({.code = ErrorCode::kConflict, .message = "conflict", .http_status = 409});
      return;
    }
    Json object = found->second;
    object.merge_patch(body);
    if (!undo_patches) {
      store(found->first, std::move(object));
    }
    if (lose_answers) {
      api_.fail({.code = ErrorCode::kUnavailable, .message = "connection reset"});
      return;
    }
    const Json& now = objects[{target.collection, target.object()}];
    api_.answer(speaks(api_.pending.front().request, "PartialObjectMetadata") ? protobuf_object(now) : now.dump());
  }
  void read(const Target& target) {
    reads.push_back(target.object());
    const auto found = objects.find({target.collection, target.object()});
    if (found == objects.end()) {
      api_.fail({.code = ErrorCode::kNotFound, .message = "not found", .http_status = 404});
    } else {
      const Json object = versionless_reads ? as_shown(found->second) : found->second;
      api_.answer(speaks(api_.pending.front().request, "PartialObjectMetadata") ? protobuf_object(object)
                                                                                : object.dump());
    }
  }
  bool speaks(const kube::Request& request, const std::string& kind) const {
    return protobuf &&
           request.accept.starts_with("application/vnd.kubernetes.protobuf;as=" + kind + ";g=meta.k8s.io;v=v1,");
  }
  void list(const Target& target, const std::string& text) {
    lists.push_back(text);
    if (const auto known = broken.find(target.collection); known != broken.end()) {
      api_.fail(known->second);
      return;
    }
    if (gone.contains(target.collection)) {
      api_.fail({.code = ErrorCode::kNotFound, .message = "not found", .http_status = 404});
      return;
    }
    if (no_list.contains(target.collection)) {
      api_.fail({.code = ErrorCode::kForbidden, .message = "cannot list resource", .http_status = 403});
      return;
    }
    Json items = Json::array();
    const std::size_t limit =
        target.parameter("limit").empty() ? objects.size() : std::stoul(target.parameter("limit"));
    std::string token;
    for (const auto& [key, object] : objects) {
      const bool wanted =
          key.first == target.collection && key.second > target.parameter("continue") &&
          (target.object_namespace.empty() || key.second.starts_with(target.object_namespace + "/")) &&
          matches(target.parameter("labelSelector"), object) &&
          (target.parameter("fieldSelector").empty() ||
           "metadata.name=" + object["metadata"]["name"].get<std::string>() == target.parameter("fieldSelector"));
      if (!wanted) {
        continue;
      }
      if (items.size() == limit) {
        token = items.back()["metadata"].contains("namespace")
                    ? items.back()["metadata"]["namespace"].get<std::string>() + "/" +
                          items.back()["metadata"]["name"].get<std::string>()
                    : items.back()["metadata"]["name"].get<std::string>();
        break;
      }
      items.push_back(as_shown(object));
    }
    Json metadata{{"resourceVersion", std::to_string(version_)}};
    if (!token.empty()) {
      metadata["continue"] = token;
    }
    const Json page{{"metadata", metadata}, {"items", items}};
    const std::string body =
        speaks(api_.pending.front().request, "PartialObjectMetadataList") ? protobuf_list(page) : page.dump();
    protobuf_lists += body.starts_with('{') ? 0 : 1;
    if (late_lists) {
      late_.emplace_back(std::move(api_.pending.front()), body);
      api_.pending.pop_front();
    } else {
      api_.answer(body);
    }
  }
  void open(const std::shared_ptr<FakeApi::OpenStream>& stream) {
    const Target target = parse(stream->request.target);
    const auto close = [&](Error error) {
      executor_.post([stream, error = std::move(error)] {
        if (!std::exchange(stream->cancelled, true)) {
          stream->sink->on_close(error);
        }
      });
    };
    if (stream->cancelled) {
      return;
    }
    if (const auto known = broken.find(target.collection); known != broken.end()) {
      close(known->second);
      return;
    }
    if (gone.contains(target.collection)) {
      close({.code = ErrorCode::kNotFound, .message = "not found", .http_status = 404});
      return;
    }
    if (no_watch.contains(target.collection)) {
      close({.code = ErrorCode::kForbidden, .message = "cannot watch resource", .http_status = 403});
      return;
    }
    const auto selector = target.query.find("labelSelector");
    if (selector != target.query.end() && selector->second.size() > longest_selector) {
      close({.code = ErrorCode::kTooLarge, .message = "414 URI Too Long", .http_status = 414});
      return;
    }
    Watch watch{stream, target.collection, selector == target.query.end() ? "" : selector->second};
    executor_.post([stream] {
      if (!stream->cancelled) {
        stream->sink->on_open();
      }
    });
    bookmark_later(watch);
    if (!target.query.contains("sendInitialEvents")) {
      watches_.push_back(std::move(watch));  // goes on; nothing happened meanwhile
      return;
    }
    for (const auto& [key, object] : objects) {
      if (key.first == watch.collection && matches(watch.selector, object)) {
        send(watch, "ADDED", as_shown(object));
      }
    }
    send(watch, "BOOKMARK",
         {{"metadata",
           {{"resourceVersion", std::to_string(version_)}, {"annotations", {{"k8s.io/initial-events-end", "true"}}}}}});
    watches_.push_back(std::move(watch));
  }

  void bookmark_later(const Watch& watch) {
    executor_.post_after(std::chrono::minutes(1), [this, watch] {
      if (!watch.stream->cancelled) {
        send(watch, "BOOKMARK", {{"metadata", {{"resourceVersion", std::to_string(version_)}}}});
        bookmark_later(watch);
      }
    });
  }

  FakeExecutor& executor_;
  FakeApi& api_;
  std::size_t streams_ = 0;  // of api_.streams that were opened
  std::vector<Watch> watches_;
  std::deque<std::pair<FakeApi::Pending, std::string>> late_;  // lists, and their answers
  std::uint64_t version_ = 100;
  int uid_ = 0;
};

}  // namespace sharder::testing
