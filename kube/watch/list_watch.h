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
#include "kube/client/lasting_failure.h"
#include "kube/client/resource.h"
#include "kube/watch/watch_event.h"

namespace sharder::kube {

// Receives what a ListWatch sees. All calls come on the API loop.
class WatchSink {
 public:
  virtual ~WatchSink() = default;
  virtual void on_event(const WatchEvent& event) = 0;
  // True: the list is complete and the watch behind it is open, so what the sink has seen is current. False: it is not,
  // or no longer; `error` is the reason, unless the server ended the watch in order. Called on every change, and with
  // false again at each failed try.
  virtual void on_connection(bool watching, const std::optional<Error>& error) = 0;
};

struct ListWatchOptions {
  Resource resource;
  std::string object_namespace = {};  // "" for all
  std::string label_selector = {};
  std::string field_selector = {};
  bool metadata_only = false;
  bool compact = true;          // metadata in protobuf, where the server has it, in watches; false: always in JSON
  std::size_t page_size = 500;  // of the list; no resourceVersion, so each page is consistent
  // Ask for the initial list as a stream of events (sendInitialEvents). Where the server rejects that (400, 422), or
  // does not bring it to its end, lists of the resource come in pages (kube/client/streamed_list.h).
  bool stream_list = true;
  std::chrono::seconds watch_timeout{300};  // the server is asked for a random time from this to twice this
  // After so long without an event or a bookmark it lists anew, whatever other bytes come. A bookmark comes every
  // minute.
  std::chrono::seconds idle_timeout{90};
  std::chrono::milliseconds max_backoff{2000};
  // After many 4xx and 5xx in a row. Shorter for a watch whose recovery others wait for.
  std::chrono::milliseconds max_error_backoff = kLastingPauses.max;
  // The sink takes care of failures: only those that it is not notified of are logged here. Else each kind of failure
  // (kube::is_alike) is logged once until the watch has worked for some seconds.
  bool sink_handles_failures = false;
};

// Shows a sink the objects of one resource, now and as they change, until it is stopped. It keeps no object, only a
// resourceVersion. Failures are retried, with backoff and jitter. It lists anew after a 410, and whenever the
// resourceVersion cannot be trusted any more (the rules: kube/watch/watch_state.h).
//
//   empty ──► listing ──► watching(resourceVersion) ──► (end of stream) ──► watching(newest resourceVersion)
//               ▲                    │ 410, not trusted
//               └──── backing off ◄──┘
class ListWatch {
 public:
  // Begins at once. `api` and `clock` outlive it; the sink is kept alive until the last call. Dropping the last pointer
  // is stop().
  static std::shared_ptr<ListWatch> start(Api& api, const Clock& clock, ListWatchOptions options,
                                          std::shared_ptr<WatchSink> sink, const Logger& log);
  virtual ~ListWatch() = default;

  // From any thread, also from within the sink. Nothing is delivered after the API loop has run it.
  virtual void stop() = 0;
};

}  // namespace sharder::kube
