#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "kube/client/api.h"
#include "kube/client/resource.h"
#include "kube/watch/watch_event.h"

namespace sharder::kube {

// Receives what a ListWatch sees. All calls come on the API loop.
class WatchSink {
 public:
  virtual ~WatchSink() = default;
  virtual void on_event(const WatchEvent& event) = 0;
  // True: a watch is open behind a complete list, what it shows is current. False: it is not (any more); `error` says
  // why unless the server ended the watch in order. Called on every change, and with false at each failed try again.
  virtual void on_connection(bool watching, const std::optional<Error>& error) = 0;
};

struct ListWatchOptions {
  Resource resource;
  std::string object_namespace = {};  // "" for all
  std::string label_selector = {};
  std::string field_selector = {};
  bool metadata_only = false;
  std::size_t page_size = 500;  // of the list; no resourceVersion, so each page is consistent
  // Ask for the initial list as a stream of events (sendInitialEvents). Where the server refuses that (400, 422), or
  // does not bring it to its end, lists of the resource come in pages (kube/client/streamed_list.h).
  bool stream_list = true;
  std::chrono::seconds watch_timeout{300};  // asked of the server: drawn between it and twice that
  // No event and no bookmark for so long (a bookmark comes every minute): list anew.
  std::chrono::seconds idle_timeout{90};
  std::chrono::milliseconds max_backoff{2000};
  std::chrono::milliseconds max_refusal_backoff{2000};  // after 4xx and 5xx, again and again
  // The sink tells of failures itself: the log gets only what it does not hear of.
  bool sink_tells_failures = false;
};

// Shows a sink the objects of one resource, now and as they change, until it is stopped. It keeps no object: only where
// it stands. 410, as a status or as an ERROR event, lists anew; every other failure is retried, with backoff and
// jitter.
//
//   empty ──► listing ──► watching(resourceVersion) ──► (end of stream) ──► watching(newest resourceVersion)
//               ▲                    │ 410
//               └──── backing off ◄──┘
class ListWatch {
 public:
  // Begins at once. `api` and `clock` outlive it; the sink is kept alive until the last call. Dropping the last pointer
  // is stop().
  static std::shared_ptr<ListWatch> start(Api& api, const Clock& clock, ListWatchOptions options,
                                          std::shared_ptr<WatchSink> sink, const Logger& log);
  virtual ~ListWatch() = default;

  // From any thread, also from within the sink. Nothing is delivered once the API loop has come to it.
  virtual void stop() = 0;
};

}  // namespace sharder::kube
