#include "kube/watch/watch_state.h"

#include <algorithm>
#include <utility>

#include "kube/client/failure_class.h"
#include "kube/codec/resource_version.h"

namespace sharder::kube {

using namespace watch_action;

namespace {

// The resourceVersion is from the future of the server's data. Only the text shows it: the cause in the Status has no
// code of its own, and servers before 1.19 send only the message (client-go reads it too).
bool is_too_large_version(const Error& error) {
  return error.message.find("Too large resource version") != std::string::npos;
}

// Nobody took the request: no connection, no answer in time, or the error of a gateway.
bool reached_nobody(const Error& error) {
  const bool of_gateway = error.http_status >= 502 && error.http_status <= 504;
  return is_unanswered(error) || of_gateway;
}

}  // namespace

WatchState::WatchState(const WatchStateOptions& options, StreamedList& streamed_list, std::uint64_t seed)
    : options_(options),
      backoff_({.max = options.max_backoff}, seed),
      error_backoff_({.initial = options.max_backoff, .max = options.max_error_backoff}, seed),
      random_(static_cast<std::minstd_rand::result_type>(seed)),
      page_size_(std::max<std::size_t>(options.page_size, 1)),
      streamed_list_(streamed_list) {}

WatchActions WatchState::on(const WatchInput& input, SteadyTime now) {
  now_ = now;
  WatchActions actions;
  if (phase_ != WatchPhase::kStopped) {
    std::visit([&](const auto& value) { handle(value, actions); }, input);
  }
  return actions;
}

std::optional<SteadyTime> WatchState::deadline() const {
  if (phase_ == WatchPhase::kWatching) {
    return heard_ + options_.idle_timeout;
  }
  if (phase_ != WatchPhase::kStreaming) {
    return std::nullopt;
  }
  const auto silence = std::min<std::chrono::milliseconds>(kInitialSilence, options_.idle_timeout);
  return opened_ ? std::min(initial_deadline_, heard_ + silence) : initial_deadline_;
}

void WatchState::handle(const watch_input::Started&, WatchActions& actions) {
  if (phase_ == WatchPhase::kEmpty) {
    go_on(actions);
  }
}

void WatchState::handle(const watch_input::PageCame& page, WatchActions& actions) {
  if (phase_ != WatchPhase::kListing) {
    return;
  }
  const bool is_last = page.continue_token.empty();
  if (is_last && page.resource_version.empty()) {
    pause(Error{.code = ErrorCode::kInvalid, .message = "the list has no resourceVersion"}, actions);
    return;
  }
  show_init(actions);
  actions.emplace_back(ShowItems{});
  if (!is_last) {
    continue_token_ = page.continue_token;
    send_page(actions);
    return;
  }
  listed(page.resource_version, false, actions);
  open_watch(actions);
}

void WatchState::handle(const watch_input::StreamOpened&, WatchActions& actions) {
  opened_ = now_;
  if (phase_ == WatchPhase::kStreaming) {
    heard_ = now_;
  } else if (phase_ == WatchPhase::kConnecting && !is_trusted()) {
    list_in_pages_instead(actions);
  } else if (phase_ == WatchPhase::kConnecting) {
    was_open_ = true;
    trying_since_.reset();
    phase_ = WatchPhase::kWatching;
    actions.emplace_back(Report{.watching = true, .error = std::nullopt});
  }
}

void WatchState::handle(const watch_input::MessageCame& message, WatchActions& actions) {
  if (phase_ == WatchPhase::kStreaming) {
    on_initial_message(message, actions);
    return;
  }
  if (phase_ != WatchPhase::kWatching) {
    return;
  }
  if (goes_back(message)) {
    distrust();
    actions.emplace_back(CloseStream{});
    pause(Error{.code = ErrorCode::kGone, .message = "watch: the server's resourceVersions go backwards"}, actions);
    return;
  }
  heard_ = now_;
  silence_logged_ = false;
  const bool shows_last_state =
      message.type == WatchMessageType::kDeleted && newer_version(resource_version_, message.resource_version);
  if (!message.resource_version.empty() && !shows_last_state) {
    resource_version_ = message.resource_version;
  }
  if (message.type != WatchMessageType::kBookmark) {
    actions.emplace_back(
        Show{message.type == WatchMessageType::kDeleted ? WatchEventType::kDelete : WatchEventType::kApply});
  }
}

void WatchState::on_initial_message(const watch_input::MessageCame& message, WatchActions& actions) {
  if (message.type != WatchMessageType::kBookmark) {
    // Changes come among the initial events, so there are MODIFIED and DELETED too.
    show_init(actions);
    actions.emplace_back(
        Show{message.type == WatchMessageType::kDeleted ? WatchEventType::kDelete : WatchEventType::kInitApply});
    heard_ = message.type == WatchMessageType::kAdded ? now_ : heard_;
    return;
  }
  if (!message.initial_events_end || message.resource_version.empty()) {
    initial_events_unusable("a bookmark that is not the initial events' end", actions);
    return;
  }
  show_init(actions);
  listed(message.resource_version, true, actions);
  streamed_list_.worked();
  phase_ = WatchPhase::kWatching;
  actions.emplace_back(Report{.watching = true, .error = std::nullopt});
}

// `open`: the watch behind the list is open already.
void WatchState::listed(std::string_view resource_version, bool open, WatchActions& actions) {
  actions.emplace_back(Show{WatchEventType::kInitDone});
  resource_version_ = resource_version;
  stream_list_cut_ = false;
  was_open_ = open;
  was_unreached_ = false;
  trying_since_.reset();
  heard_ = now_;
}

void WatchState::handle(const watch_input::Late&, WatchActions& actions) {
  const auto due = deadline();
  if (!due || now_ < *due) {
    return;
  }
  if (phase_ == WatchPhase::kStreaming) {
    initial_events_unusable("the initial events did not end in time", actions);
    return;
  }
  distrust();
  actions.emplace_back(CloseStream{});
  pause(
      Error{.code = ErrorCode::kTimeout,
            .message = "watch: no event and no bookmark for " +
                       std::to_string(std::chrono::floor<std::chrono::seconds>(options_.idle_timeout).count()) + " s"},
      actions, !std::exchange(silence_logged_, true));
}

void WatchState::handle(const watch_input::StreamEnded&, WatchActions& actions) {
  if (phase_ == WatchPhase::kStreaming) {
    if (std::exchange(stream_list_cut_, true)) {
      initial_events_unusable("the watch ended before its initial events did", actions);
    } else {
      // The first time it may be a server that shuts down: it ends its watches in order.
      pause(Error{.code = ErrorCode::kUnavailable, .message = "watch: it ended before its initial events did"},
            actions);
    }
  } else if (phase_ == WatchPhase::kWatching || phase_ == WatchPhase::kConnecting) {
    if (has_settled()) {
      went_back_ = false;
      backoff_.reset();
      actions.emplace_back(Report{.watching = false, .error = std::nullopt});
      go_on(actions);
    } else {
      pause(std::nullopt, actions);
    }
  }
}

void WatchState::handle(const watch_input::Failed& failed, WatchActions& actions) {
  switch (phase_) {
    case WatchPhase::kListing:
      list_failed(failed.error, actions);
      break;
    case WatchPhase::kStreaming:
      initial_events_failed(failed.error, actions);
      break;
    case WatchPhase::kConnecting:
    case WatchPhase::kWatching:
      watch_failed(failed.error, actions);
      break;
    case WatchPhase::kEmpty:
    case WatchPhase::kBackingOff:
    case WatchPhase::kStopped:
      break;
  }
}

void WatchState::initial_events_failed(const Error& error, WatchActions& actions) {
  if (error.code == ErrorCode::kInvalid) {
    if (error.http_status == 0) {
      initial_events_unusable(error.message, actions);
    } else {
      streamed_list_.rejected();
      list_in_pages_instead(actions);
    }
    return;
  }
  if (error.code == ErrorCode::kTimeout || error.code == ErrorCode::kUnavailable) {
    pages_next_ = !init_shown_ || std::exchange(stream_list_cut_, true);
  }
  actions.emplace_back(CloseStream{});
  pause(error, actions);
}

void WatchState::watch_failed(const Error& error, WatchActions& actions) {
  was_unreached_ = was_unreached_ || (phase_ == WatchPhase::kConnecting && was_open_ && reached_nobody(error));
  if (error.code == ErrorCode::kGone) {
    resource_version_.clear();
  } else if (error.code == ErrorCode::kInvalid || is_too_large_version(error)) {
    distrust();
  }
  actions.emplace_back(CloseStream{});
  pause(error, actions);
}

void WatchState::list_failed(const Error& error, WatchActions& actions) {
  if (error.code == ErrorCode::kTooLarge && !is_request_too_large(error) && page_size_ > 1) {
    page_size_ /= 2;
    page_halved_ = true;
    send_page(actions);  // the same page: a continue token works with any limit
    return;
  }
  if (error.code == ErrorCode::kGone && !continue_token_.empty() && !page_halved_) {
    page_size_ = std::min(page_size_ * 2, std::max(page_size_, kMaxPageSize));
  }
  pause(error, actions);
}

void WatchState::handle(const watch_input::PauseOver&, WatchActions& actions) {
  if (phase_ == WatchPhase::kBackingOff) {
    go_on(actions);
  }
}

void WatchState::handle(const watch_input::Stopped&, WatchActions& actions) {
  actions.emplace_back(CloseStream{});
  phase_ = WatchPhase::kStopped;
}

bool WatchState::has_settled() const {
  return opened_ && now_ >= *opened_ + kSettled;
}

// Whether a watch may go on from resource_version_.
bool WatchState::is_trusted() const {
  const auto max_gap = was_open_ ? kMaxGap : kMaxGapBehindList;
  return now_ < heard_ + options_.idle_timeout && !was_unreached_ && now_ < trying_since_.value_or(now_) + max_gap;
}

bool WatchState::goes_back(const watch_input::MessageCame& message) {
  if (!compares_versions_ || message.type == WatchMessageType::kDeleted ||
      !newer_version(resource_version_, message.resource_version)) {
    return false;
  }
  compares_versions_ = !std::exchange(went_back_, true);
  return compares_versions_;
}

// The server's data at resource_version_ may be missing, or other data than ours.
void WatchState::distrust() {
  resource_version_.clear();
  pages_next_ = true;
}

void WatchState::go_on(WatchActions& actions) {
  if (!resource_version_.empty() && !is_trusted()) {
    distrust();
  }
  const bool may_stream = options_.stream_list && streamed_list_.may_ask(now_);
  if (resource_version_.empty() && (std::exchange(pages_next_, false) || !may_stream)) {
    list(actions);
  } else {
    open_watch(actions);
  }
}

void WatchState::list(WatchActions& actions) {
  continue_token_.clear();
  init_shown_ = false;
  send_page(actions);
}

void WatchState::send_page(WatchActions& actions) {
  phase_ = WatchPhase::kListing;
  actions.emplace_back(SendList{.limit = page_size_, .continue_token = continue_token_});
}

void WatchState::open_watch(WatchActions& actions) {
  opened_.reset();
  phase_ = WatchPhase::kConnecting;
  trying_since_ = trying_since_.value_or(now_);
  if (resource_version_.empty()) {
    init_shown_ = false;
    initial_deadline_ = now_ + kInitialTime;
    phase_ = WatchPhase::kStreaming;
  }
  // Random, so that the watches of many clients that began together do not end together.
  const auto shortest = options_.watch_timeout.count();
  const std::chrono::seconds timeout(
      std::uniform_int_distribution<std::chrono::seconds::rep>(shortest, 2 * shortest)(random_));
  actions.emplace_back(OpenWatch{.resource_version = resource_version_, .timeout = timeout});
}

void WatchState::list_in_pages_instead(WatchActions& actions) {
  actions.emplace_back(CloseStream{});
  list(actions);
}

void WatchState::initial_events_unusable(std::string reason, WatchActions& actions) {
  if (streamed_list_.failed(now_)) {
    actions.emplace_back(LogPages{std::move(reason)});
  }
  list_in_pages_instead(actions);
}

void WatchState::show_init(WatchActions& actions) {
  if (!std::exchange(init_shown_, true)) {
    actions.emplace_back(Show{WatchEventType::kInit});
  }
}

void WatchState::pause(std::optional<Error> error, WatchActions& actions, bool is_news) {
  if (phase_ == WatchPhase::kWatching && has_settled()) {
    backoff_.reset();
    error_backoff_.reset();
    error_answers_ = 0;
  }
  const bool has_many_errors = error && error->http_status != 0 && ++error_answers_ > kPassingErrors;
  std::chrono::milliseconds delay = (has_many_errors ? error_backoff_ : backoff_).next();
  if (error && error->retry_after) {
    delay += *error->retry_after;
  }
  phase_ = WatchPhase::kBackingOff;
  actions.emplace_back(Report{.watching = false, .error = std::move(error), .is_news = is_news});
  actions.emplace_back(Pause{delay});
}

}  // namespace sharder::kube
