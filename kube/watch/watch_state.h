#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <variant>
#include <vector>

#include "base/backoff.h"
#include "base/clock.h"
#include "base/error.h"
#include "kube/client/streamed_list.h"
#include "kube/watch/watch_decoder.h"
#include "kube/watch/watch_event.h"

// The protocol of a list and watch as a state machine: pure, without I/O, clock or thread. ListWatch gives it each
// input with its time, and does the actions that it returns.
//
//              ┌────────── page, there are more ──┐
//   Started    ▼                                  │
//  kEmpty ─► kListing ────────────────────────────┘
//    │         │ last page                                  kBackingOff
//    │         ▼                                             ▲      │ PauseOver: goes on from the resourceVersion,
//    │       kConnecting ── header ──► kWatching ── fails ───┘      │ or from the list when there is none
//    │         ▲                         ▲   │                      ▼
//    │         └─────────────────────────┼───┘ ends in order
//    └─► kStreaming ── initial events end┘
//          └── not in time: kListing
//
// Rules, and where they come from (API conventions and concepts of Kubernetes; client-go where noted):
// - Lists come in pages without a resourceVersion: a consistent read. All pages show the state at the first one's
//   resourceVersion, and the watch begins there.
// - A page whose continue token has expired (410) begins the list anew. With the token that such a 410 brings, the rest
//   would be shown as it is *now*: objects that were created since in the part already shown would be missed for ever.
//   The page size is doubled then, because the list takes too long.
// - sendInitialEvents needs resourceVersionMatch=NotOlderThan, and bookmarks, because one marks its end. Without a
//   resourceVersion it begins with the most recent state. Servers without it:
//     reject it with 422 (1.19 and newer, the feature off or unknown: both parameters are validated) or 400;
//     ignore it (aggregated servers with a foreign implementation), or a proxy drops their bookmarks: ADDED events
//     come, and then no end. client-go only logs a warning then; here the list comes in pages instead.
//   A server that rejects it is not asked again, one that ignores it after growing pauses (StreamedList).
// - Only ADDED events count as progress of the initial events. These have kInitialTime in all.
// - A server whose watch cache lags behind etcd (it was paused, or has just started) cannot show initial events: it
//   answers with 429 or 504, or not at all. It reads a list in pages from etcd, so the next attempt is one in pages.
// - Until the initial events end, resourceVersions are not in order, and none is remembered (as in client-go).
// - A watch that ends in order (the server's timeout) is opened again at once, from the newest resourceVersion. If it
//   did not last kSettled, there is a pause first: a server that closes every watch must not be called in a loop.
// - A 410, as a status or as an ERROR event, means a new list. So do answers to a resourceVersion that can never work
//   (400, 422, garbage; "Too large resource version": etcd was restored from a backup).
// - A resourceVersion is trusted until no event and no bookmark came for idle_timeout, over any number of connections:
//   a server whose data was restored from an older copy accepts a watch from its own future, and is silent until it
//   gets there. A server that is not reached at once, or does not open the watch again within kMaxGap, may have come
//   back as another one. A server whose versions go backwards is another one. In all these cases the watch lists anew,
//   in pages: a consistent read (docs/decisions/0005-what-a-watch-is-trusted-for.md). In all other cases it goes on
//   from its resourceVersion.
// - When versions go backwards again after a new list, they mean nothing, and are no longer compared. The versions of
//   DELETED events are never compared: foreign servers show the last state's version in them.
// - Every pause grows up to max_backoff until a watch has stood for kSettled. When the server answers with errors again
//   and again, it grows up to max_error_backoff. A Retry-After is added.
namespace sharder::kube {

enum class WatchPhase {
  kEmpty,
  kListing,     // a page was asked for
  kStreaming,   // a watch was asked for, or is open, and its initial events have not ended
  kConnecting,  // a watch from a resourceVersion was asked for
  kWatching,    // a watch is open behind a complete list
  kBackingOff,
  kStopped,
};

// What happens.
namespace watch_input {
struct Started {};
struct PageCame {
  std::string_view resource_version;
  std::string_view continue_token;
};
struct StreamOpened {};
struct MessageCame {
  WatchMessageType type;
  std::string_view resource_version;
  bool initial_events_end = false;
};
struct Late {};         // deadline() may have passed
struct StreamEnded {};  // by the server, in order
struct Failed {         // a list, or the stream: by its status, an ERROR event, garbage, or the connection
  Error error;
};
struct PauseOver {};
struct Stopped {};
}  // namespace watch_input
using WatchInput = std::variant<watch_input::Started, watch_input::PageCame, watch_input::StreamOpened,
                                watch_input::MessageCame, watch_input::Late, watch_input::StreamEnded,
                                watch_input::Failed, watch_input::PauseOver, watch_input::Stopped>;

// What is to be done, in this order.
namespace watch_action {
struct SendList {
  std::size_t limit;
  std::string continue_token;
};
struct OpenWatch {
  std::string resource_version;  // "": with the initial events (sendInitialEvents)
  std::chrono::seconds timeout;  // after which the server is to end it
};
struct CloseStream {};  // if it is open
struct Show {           // to the sink; kInitApply, kApply and kDelete with the object of the message
  WatchEventType type;
};
struct ShowItems {};  // each item of the page as kInitApply
struct Report {       // WatchSink::on_connection
  bool watching;
  std::optional<Error> error;
  bool is_news = true;  // false: it was logged before
};
struct LogPages {  // logs why lists come in pages for some time
  std::string reason;
};
struct Pause {
  std::chrono::milliseconds delay;
};
}  // namespace watch_action
using WatchAction =
    std::variant<watch_action::SendList, watch_action::OpenWatch, watch_action::CloseStream, watch_action::Show,
                 watch_action::ShowItems, watch_action::Report, watch_action::LogPages, watch_action::Pause>;
using WatchActions = std::vector<WatchAction>;

struct WatchStateOptions {
  std::size_t page_size = 500;
  bool stream_list = true;
  std::chrono::seconds watch_timeout{300};
  std::chrono::milliseconds idle_timeout{90'000};
  std::chrono::milliseconds max_backoff{2000};
  std::chrono::milliseconds max_error_backoff{2000};  // after many error answers in a row
};

class WatchState {
 public:
  // A watch that has stood so long counts as working.
  static constexpr std::chrono::seconds kSettled{5};
  // The initial events come without a break; kube-apiserver answers with the header only when it has them.
  static constexpr std::chrono::seconds kInitialSilence{10};
  static constexpr std::chrono::seconds kInitialTime{30};
  // When a watch is not open again so soon, its server may be another one. After a list that no watch has followed yet
  // there is more time: where no watch can be opened, lists must not come one after the other.
  static constexpr std::chrono::seconds kMaxGap{1};
  static constexpr std::chrono::seconds kMaxGapBehindList{30};
  static constexpr std::size_t kMaxPageSize = 8000;
  // So many error answers, over some 10 s, may come from a server that has just started.
  static constexpr int kPassingErrors = 10;

  // `streamed_list`: of the resource; outlives it.
  WatchState(const WatchStateOptions& options, StreamedList& streamed_list,
             std::uint64_t seed = std::random_device{}());

  WatchActions on(const WatchInput& input, SteadyTime now);

  WatchPhase phase() const { return phase_; }
  const std::string& resource_version() const { return resource_version_; }
  // When to give it Late, unless another input comes before; nullopt: never.
  std::optional<SteadyTime> deadline() const;

 private:
  void handle(const watch_input::Started& input, WatchActions& actions);
  void handle(const watch_input::PageCame& input, WatchActions& actions);
  void handle(const watch_input::StreamOpened& input, WatchActions& actions);
  void handle(const watch_input::MessageCame& input, WatchActions& actions);
  void handle(const watch_input::Late& input, WatchActions& actions);
  void handle(const watch_input::StreamEnded& input, WatchActions& actions);
  void handle(const watch_input::Failed& input, WatchActions& actions);
  void handle(const watch_input::PauseOver& input, WatchActions& actions);
  void handle(const watch_input::Stopped& input, WatchActions& actions);

  void on_initial_message(const watch_input::MessageCame& message, WatchActions& actions);
  void initial_events_failed(const Error& error, WatchActions& actions);
  void watch_failed(const Error& error, WatchActions& actions);
  void list_failed(const Error& error, WatchActions& actions);
  bool has_settled() const;
  bool is_trusted() const;
  bool goes_back(const watch_input::MessageCame& message);
  void distrust();
  void go_on(WatchActions& actions);
  void list(WatchActions& actions);
  void send_page(WatchActions& actions);
  void open_watch(WatchActions& actions);
  void list_in_pages_instead(WatchActions& actions);
  void initial_events_unusable(std::string reason, WatchActions& actions);
  void listed(std::string_view resource_version, bool open, WatchActions& actions);
  void show_init(WatchActions& actions);
  void pause(std::optional<Error> error, WatchActions& actions, bool is_news = true);

  const WatchStateOptions options_;
  Backoff backoff_;
  Backoff error_backoff_;
  int error_answers_ = 0;  // since a watch has stood for kSettled
  std::minstd_rand random_;
  WatchPhase phase_ = WatchPhase::kEmpty;
  SteadyTime now_ = {};                    // of the input that is being handled
  SteadyTime initial_deadline_ = {};       // of the initial events that are under way
  std::optional<SteadyTime> opened_ = {};  // since when the stream is open
  SteadyTime heard_ = {};                  // when the last initial object came; after the list, when the last event
                                           // or bookmark came, or the list itself
  bool silence_logged_ = false;            // since something was heard
  bool stream_list_cut_ = false;           // a stream broke off, or ended in order, before its initial events did
  bool pages_next_ = false;                // the next list is one in pages
  bool was_open_ = false;                  // a watch has stood behind the list
  bool was_unreached_ = false;             // since then a connection reached nobody
  std::optional<SteadyTime> trying_since_ = {};  // to open the watch behind the list, again or for the first time
  bool compares_versions_ = true;
  bool went_back_ = false;   // versions went backwards, and no watch has ended in order since
  bool init_shown_ = false;  // of the list that is under way
  bool page_halved_ = false;
  std::size_t page_size_;
  StreamedList& streamed_list_;
  std::string continue_token_;    // of the page that was asked for
  std::string resource_version_;  // from which a watch goes on; "" while there is no complete list
};

}  // namespace sharder::kube
