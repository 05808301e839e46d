#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>

#include "tests/apiserver/database.h"
#include "tests/apiserver/request.h"
#include "tests/apiserver/selector.h"

namespace sharder::apiserver {

// Which objects a list or a watch shows.
struct Filter {
  std::string prefix = {};  // of the keys: "namespace/", with a name behind it where only that can match, or ""
  LabelSelector labels = {};
  FieldSelector fields = {};

  bool matches(const Object& object) const { return labels.matches(object.labels()) && fields.matches(object); }
};

// What a watch with this filter says about a change: nothing, or one line of JSON. An object that enters the selection
// is ADDED, one that leaves it DELETED, shown as it was before but with the version of the change.
std::string watch_event(const Change& change, const Filter& filter, const Resource& resource, Form form);
std::string added_event(const Object& object, const Resource& resource, Form form);
// `initial_end`: the list that a streaming list begins with is complete.
std::string bookmark_event(std::uint64_t version, const Resource& resource, Form form, bool initial_end);
std::string error_event(const Status& status);

// One open watch: the thread of its connection pulls.
class WatchStream {
 public:
  struct Options {
    std::shared_ptr<const Resource> resource = {};
    Form form = Form::kFull;
    Filter filter = {};
    bool bookmarks = false;
    std::chrono::steady_clock::time_point end = {};
    std::chrono::steady_clock::duration bookmark_interval{};
    std::string head = {};     // events that come first
    bool initial_end = false;  // a bookmark says when they are over
    bool end_after_head = false;
  };
  WatchStream(Options options, std::uint64_t version, std::unique_ptr<Database::Cursor> cursor);

  enum class State { kOpen, kEnded, kCut };
  struct Step {
    State state = State::kOpen;
    std::string data = {};
  };
  // The next events; waits for them this long at most.
  Step next(std::chrono::milliseconds longest_wait = std::chrono::milliseconds(500));

  // From any thread: the stream ends, after `last` (may be "").
  void end(State how, std::string last);

 private:
  void append_bookmark(std::string& data, bool initial_end);

  Options options_;
  std::unique_ptr<Database::Cursor> cursor_;
  std::uint64_t version_;           // all changes up to it are told
  std::uint64_t told_version_ = 0;  // of the last bookmark
  std::chrono::steady_clock::time_point next_bookmark_;
  bool started_ = false;

  std::mutex mutex_;  // guards what follows
  std::optional<Step> ending_;
};

// The watches that are open, so that they can be cut. Safe from any thread.
class WatchRegistry {
 public:
  // As long as the result lives, the watch is registered.
  std::shared_ptr<void> add(std::shared_ptr<WatchStream> stream, Request request);
  // Ends those whose request matches; returns how many.
  int end(const std::function<bool(const Request&)>& matches, WatchStream::State how, const std::string& last);
  std::size_t size() const;

 private:
  struct Entry {
    std::shared_ptr<WatchStream> stream;
    Request request;
  };
  mutable std::mutex mutex_;
  std::set<Entry*> entries_;
};

}  // namespace sharder::apiserver
